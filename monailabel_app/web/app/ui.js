// The view library in one place: Preact with htm, and a hook that follows an observable object.
import { h, render, Fragment, createContext } from "../vendor/preact-10.29.8.js";
import { useEffect, useRef, useState, useMemo, useCallback, useLayoutEffect } from "../vendor/preact-hooks-10.29.8.js";
import htm from "../vendor/htm-3.1.1.js";

export const html = htm.bind(h);
export { render, Fragment, createContext, useEffect, useRef, useState, useMemo, useCallback, useLayoutEffect };

/**
 * Render again whenever one of the objects changes.
 * @param {...import("./observable.js").Observable} observed
 */
export function useObserved(...observed) {
  const [, count] = useState(0);
  useEffect(() => {
    const ends = observed.map((one) => one.subscribe(() => count((number) => number + 1)));
    return () => ends.forEach((end) => end());
  }, observed);
}
