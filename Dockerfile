# The program with the drivers of all its databases, and what git needs beside it.
# docker build -t reposentry . && docker run -v ./reposentry.yaml:/etc/reposentry/reposentry.yaml:ro
# -v reposentry:/var/lib/reposentry -p 8080:8080 reposentry (with server.listen: "[::]:8080")

FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
# Compiled here, since whoever runs it may write nothing; hashes, since a layer has no times.
RUN python -m venv /opt/reposentry \
    && /opt/reposentry/bin/pip install --no-cache-dir --no-compile \
        -c config/constraints.txt ".[postgresql,mysql]" \
    && /opt/reposentry/bin/pip uninstall --yes pip \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/reposentry/lib

FROM python:3.13-slim
# Newest on purpose: these come with security fixes, and nothing here depends on their versions.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/reposentry --create-home \
        --shell /usr/sbin/nologin reposentry
COPY --from=build /opt/reposentry /opt/reposentry
ENV PATH=/opt/reposentry/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
# Where an SQLite database with a relative path goes, and ssh's known_hosts.
WORKDIR /var/lib/reposentry
VOLUME /var/lib/reposentry
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
ENTRYPOINT ["reposentry"]
CMD ["run", "-c", "/etc/reposentry/reposentry.yaml"]
