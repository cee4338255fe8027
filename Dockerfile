# The server with what it needs for PostgreSQL and S3. compose.yaml runs it beside both; docs/OPERATOR.md says how.
#
# Everything that is downloaded is compared with a hash: dependencies with those of requirements-runtime.lock, what the
# wheel is built with with those of requirements.lock. The environment is made in one stage and copied into another,
# so no source, no cache and no build tool comes along.

FROM python:3.13.14-slim-trixie AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements-runtime.lock ./
RUN python -m venv --without-pip /opt/artifactstore \
    && pip --python /opt/artifactstore install --require-hashes --only-binary :all: -r requirements-runtime.lock
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY schemas schemas
COPY artifactstore artifactstore
RUN pip wheel --no-deps --build-constraint requirements.lock --wheel-dir /wheels . \
    && pip --python /opt/artifactstore install --no-deps /wheels/*.whl

FROM python:3.13.14-slim-trixie
LABEL org.opencontainers.image.title="artifactstore" \
      org.opencontainers.image.description="A package store for what runs leave behind" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/artifactstore /opt/artifactstore
# Named volumes that are mounted here take over the owner. The root itself may be read-only.
RUN install -d -o 65532 -g 65532 -m 0700 /var/lib/artifactstore /var/tmp/artifactstore
ENV PATH=/opt/artifactstore/bin:$PATH \
    HOME=/var/lib/artifactstore \
    ARTIFACTSTORE_HOME=/var/lib/artifactstore \
    TMPDIR=/var/tmp/artifactstore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /var/lib/artifactstore
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["artifactstore"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
