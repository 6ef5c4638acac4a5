# syntax=docker/dockerfile:1
# One image for every service: `docker run dosestream ingest`. Its file system may be read-only but for
# /var/lib/dosestream (what was heard in the last 24 hours) and /tmp.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Ingest's hot path is compiled by mypyc; the compiler stays in this stage.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# Everything locked, only to build with; then what the services need of it, by the same hashes.
COPY requirements.lock pyproject.toml ./
RUN python -m venv /build && /build/bin/pip install --require-hashes -r requirements.lock
COPY deploy/docker/runtime.py deploy/docker/
RUN /build/bin/python deploy/docker/runtime.py requirements.lock pyproject.toml > runtime.lock \
    && python -m venv /opt/dosestream \
    && /opt/dosestream/bin/pip install --no-deps --require-hashes -r runtime.lock
COPY LICENSE README.md ./
COPY dosestream dosestream
COPY services services
COPY schemas schemas
COPY deploy/kafka deploy/kafka
COPY deploy/compiled/hatch_build.py deploy/compiled/
RUN HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/dosestream/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/dosestream/bin/pip uninstall --yes pip setuptools \
    && /opt/dosestream/bin/python -m compileall -q /opt/dosestream

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin dosestream \
    && install -d -o dosestream -g dosestream -m 0700 /var/lib/dosestream
COPY --from=build /opt/dosestream /opt/dosestream
ENV PATH=/opt/dosestream/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    DOSESTREAM_REPEATS=/var/lib/dosestream \
    DOSESTREAM_READY=/tmp/ready.json \
    DOSESTREAM_METRICS_HOST=0.0.0.0 \
    DOSESTREAM_METRICS_PORT=9464 \
    FAUST_DATADIR=/tmp/faust
USER 10001:10001
WORKDIR /var/lib/dosestream
VOLUME /var/lib/dosestream
# 2575 HL7, 2576 HL7 over TLS, 11112 DICOM, 2762 DICOM over TLS, 11113 worklist, 9464 metrics and health
EXPOSE 2575 2576 11112 2762 11113 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as http; http.urlopen('http://127.0.0.1:9464/health/ready', timeout=4)"]
ENTRYPOINT ["dosestream"]
CMD ["--help"]
