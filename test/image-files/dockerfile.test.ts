import { describe, expect, it } from 'vitest';
import { builds, needs } from '../support/source-context.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

describe('a Dockerfile', () => {
  it('needs what its stages begin with, ARGs at their defaults', () => {
    const text = `# syntax=docker/dockerfile:1.7
# what we build
ARG GO=1.22 \\
    # a comment between lines
    DISTRO="alpine"
ARG BASE=golang:\${GO}-$DISTRO
FROM --platform=$BUILDPLATFORM \${BASE} AS Build
ARG GO=9.9
RUN go build
from --platform=linux/arm64 debian:\${RELEASE:-bookworm} as base
FROM scratch
COPY --from=build /app /app
`;
    expect(needs('Dockerfile', text)).toEqual([
      'docker/dockerfile:1.7 Dockerfile:1',
      'golang:1.22-alpine Dockerfile:7',
      'debian:bookworm linux/arm64 Dockerfile:10',
    ]);
  });

  it('needs what it copies and mounts from, unless that is a stage', () => {
    const text = `FROM alpine AS one
FROM one AS two
COPY --chown=1:1 --from=nginx:1.27 /etc/nginx /etc/nginx
COPY --from=ONE /a /b
COPY --from=0 /a /b
COPY a --from=not-a-flag /b
RUN --mount=type=bind,from=busybox:1.36,target=/mnt --mount=type=cache,target=/c true
`;
    expect(needs('app/Dockerfile.prod', text)).toEqual([
      'alpine:latest app/Dockerfile.prod:1',
      'nginx:1.27 app/Dockerfile.prod:3',
      'busybox:1.36 app/Dockerfile.prod:7',
    ]);
  });

  it('is not misled by here-documents, escapes and continued lines', () => {
    const text = `# escape=\`
FROM mcr.microsoft.com/windows/\`
nanoserver:ltsc2022
RUN <<EOF
FROM not-an-image
EOF
COPY <<-"A" <<B /x
FROM neither
	A
FROM nor-this
B
RUN cat <<<word

FROM alpine@${DIGEST}
`;
    expect(needs('Dockerfile', text)).toEqual([
      'mcr.microsoft.com/windows/nanoserver:ltsc2022 Dockerfile:2',
      `alpine@${DIGEST} Dockerfile:14`,
    ]);
  });

  it('says what cannot be told', () => {
    const text = `ARG TAG
FROM golang:$TAG AS a
FROM golang:\${TAG:?needed}
FROM Golang
FROM --platform=arm64 alpine
COPY --from=$X /a /b
COPY --from=a /a /b
`;
    expect(needs('x.dockerfile', text)).toEqual([
      'x.dockerfile:2: "golang:" is not the name of an image (TAG is not set)',
      'x.dockerfile:3: TAG is not set: needed',
      'x.dockerfile:4: "Golang" is not the name of an image',
      'x.dockerfile:5: "arm64" is not a platform',
      'x.dockerfile:6: builders do not expand variables in from=; name a stage',
    ]);
  });

  it('is read with nothing in the place of an ARG that has no value, as builders do, and says so', () => {
    const text = `ARG REGISTRY
ARG SUFFIX
ARG BASE=\${REGISTRY}golang:1.22
FROM \${REGISTRY}alpine:3.20$SUFFIX
FROM $BASE
FROM \${NEVER_NAMED}debian
`;
    expect(builds(text, ['linux/amd64'])).toEqual([
      'alpine:3.20 Dockerfile:4',
      'golang:1.22 Dockerfile:5',
      'debian:latest Dockerfile:6',
      'note: Dockerfile:4: REGISTRY is not set, SUFFIX is not set: read as "alpine:3.20"',
      'note: Dockerfile:5: REGISTRY is not set: read as "golang:1.22"',
      'note: Dockerfile:6: NEVER_NAMED is not set: read as "debian"',
    ]);
  });

  it('takes build arguments for the ARGs that it names', () => {
    const text = 'ARG TAG=1\nARG EMPTY\nFROM golang:$TAG\nFROM alpine$EMPTY:$UNKNOWN\n';
    const args = { TAG: '2', EMPTY: '', UNKNOWN: 'x' };
    expect(builds(text, ['linux/amd64'], args)).toEqual([
      'golang:2 Dockerfile:3',
      'Dockerfile:4: "alpine:" is not the name of an image (UNKNOWN is not set)',
    ]);
  });

  it('knows the platform that is built for, by the ARGs that builders set themselves', () => {
    const text = `FROM --platform=$BUILDPLATFORM golang AS build
FROM --platform=linux/\${TARGETARCH} alpine
FROM --platform=\${TARGETOS}/\${TARGETARCH}\${TARGETVARIANT:+/}$TARGETVARIANT debian
FROM app-\${BUILDARCH}
FROM --platform=linux/arm64 busybox
`;
    expect(builds(text, ['linux/amd64', 'linux/arm/v7'])).toEqual([
      'golang:latest Dockerfile:1',
      'alpine:latest Dockerfile:2',
      'debian:latest Dockerfile:3',
      'app-amd64:latest linux/amd64 Dockerfile:4',
      'busybox:latest linux/arm64 Dockerfile:5',
      'app-arm:latest linux/arm/v7 Dockerfile:4',
    ]);
  });

  it('overrules those by ARGs of its own', () => {
    expect(builds('ARG TARGETARCH=s390x\nFROM a-$TARGETARCH\n', ['linux/amd64'])).toEqual([
      'a-s390x:latest Dockerfile:2',
    ]);
    expect(builds('ARG TARGETARCH\nFROM a-$TARGETARCH\n', ['linux/amd64'])).toEqual([
      'a-amd64:latest linux/amd64 Dockerfile:2',
    ]);
  });

  it('needs no stage that only builds for other platforms use', () => {
    const text = `FROM alpine:3.20 AS base-amd64
FROM arm64v8/alpine:3.20 AS base-arm64
FROM nginx AS for-another-target
FROM base-\${TARGETARCH} AS final
`;
    const common = ['nginx:latest Dockerfile:3'];
    expect(builds(text, ['linux/amd64'])).toEqual(['alpine:3.20 Dockerfile:1', ...common]);
    expect(builds(text, ['linux/arm64'])).toEqual(['arm64v8/alpine:3.20 Dockerfile:2', ...common]);
    expect(builds(text, ['linux/amd64', 'linux/arm64']).toSorted()).toEqual(
      ['alpine:3.20 Dockerfile:1', 'arm64v8/alpine:3.20 Dockerfile:2', ...common].toSorted(),
    );
  });

  it('has no image that it does not name: what is cut out of a variable is not guessed', () => {
    const text = `ARG V=1.2-x
FROM golang:\${V%-x}
FROM golang:\${V/x/y}
FROM golang:\${W:-\${V#1}}
`;
    expect(needs('Dockerfile', text)).toEqual([
      'Dockerfile:2: unknown expansion of V: %-x',
      'Dockerfile:3: unknown expansion of V: /x/y',
      'Dockerfile:4: unknown expansion of V: #1',
    ]);
  });

  it('may have quotes in its flags, and lines of Windows', () => {
    const text = [
      'FROM --platform="linux/arm64" \\',
      '  alpine AS a',
      'COPY --from="nginx:1" / /',
      'RUN --mount=from="busybox:1",target=/x --mount="type=bind,from=debian:12" true',
    ].join('\r\n');
    expect(needs('Dockerfile', text)).toEqual([
      'alpine:latest linux/arm64 Dockerfile:1',
      'nginx:1 Dockerfile:3',
      'busybox:1 Dockerfile:4',
      'debian:12 Dockerfile:4',
    ]);
  });

  it('is known by its content, whatever it is called', () => {
    expect(needs('build.txt', '\n# x\nFROM alpine\n')).toEqual(['alpine:latest build.txt:3']);
  });
});
