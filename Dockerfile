# The FetalIQA server; see docs/containers.md. Not for clinical use.
#
#   docker build -t fetaliqa .                                             CPU
#   docker build -t fetaliqa:cuda --build-arg TORCH_INDEX= .              CUDA

FROM python:3.11-slim

# Where torch and torchvision come from: PyTorch's index of CPU wheels. Empty: pip's own index, PyPI, whose wheels for x86
# Linux have CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 fetaliqa \
    && mkdir /studies /data \
    && chown fetaliqa:fetaliqa /studies /data

WORKDIR /app
COPY constraints.txt ./
# sam2, which MONAI Label needs, is built: with this torch, not with another one that pip would download for it.
# Early versions of pip take more than ten minutes to find out what is installed already.
RUN pip install --no-cache-dir --constraint constraints.txt --upgrade pip \
    && pip install --no-cache-dir --constraint constraints.txt --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision \
    && pip install --no-cache-dir --constraint constraints.txt torch torchvision setuptools wheel \
    && SAM2_BUILD_CUDA=0 pip install --no-cache-dir --constraint constraints.txt --no-build-isolation sam2

COPY pyproject.toml README.md LICENSE ./
COPY fetaliqa ./fetaliqa
COPY monailabel_app ./monailabel_app
RUN pip install --no-cache-dir --constraint constraints.txt ".[server,train,export]" && rm -rf /app/build

# Published models, weights, copies of a DICOM archive, and cached assessments
ENV FETALIQA_HOME=/data \
    XDG_CACHE_HOME=/data/cache \
    PYTHONUNBUFFERED=1

USER fetaliqa
WORKDIR /data
VOLUME ["/studies", "/data"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/fetaliqa/v1/session', timeout=4)"]
CMD ["fetaliqa", "serve", "/studies", "--host", "0.0.0.0"]
