# The image of a workload in any language: the files of the team's folder, on a base that runs them.
# Such a program reads BULKHEAD_CONTEXT and writes BULKHEAD_RESULT (docs/protocol.md); it needs no library.
# For a compiled language, build in a stage of its own and copy the program into the last one.
ARG BASE_IMAGE=python:3.13-slim-trixie

FROM ${BASE_IMAGE}
ARG TEAM
RUN echo 'bulkhead:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'bulkhead:x:10001:' >> /etc/group
ENV HOME=/tmp
WORKDIR /app
COPY workloads/${TEAM} ./
USER 10001:10001
CMD ["sh"]
