# Spendtree: the exporter by default, and the command line. The store is a volume, /data.

ARG PYTHON_VERSION=3.13.5-slim-bookworm

FROM python:${PYTHON_VERSION} AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/spendtree \
    && /opt/spendtree/bin/pip install --no-cache-dir --disable-pip-version-check '.[all]' \
    # Nothing is installed later on.
    && rm -rf /opt/spendtree/lib/python*/site-packages/pip*

FROM python:${PYTHON_VERSION}
LABEL org.opencontainers.image.title="Spendtree" \
    org.opencontainers.image.description="Who spends what in a multi-agent LLM system" \
    org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/spendtree/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SPENDTREE_STORE=sqlite:////data/spendtree.db
# A volume that is made for /data takes this owner over.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin spendtree \
    && install --directory --owner=spendtree --group=spendtree --mode=0700 /data
COPY --from=build /opt/spendtree /opt/spendtree
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 9797
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as http; http.urlopen('http://127.0.0.1:9797/-/healthy', timeout=4)"]
CMD ["spendtree-exporter", "--web.listen-address", ":9797"]
