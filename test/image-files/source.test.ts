import { describe, expect, it } from 'vitest';
import { parseDotenv } from '../../src/image-files/interpolation.ts';
import { readImageSource } from '../../src/image-files/source.ts';
import { changedImage } from '../../src/image-files/kustomization.ts';
import { interpolate } from '../../src/image-files/interpolation.ts';
import type { ImageSource } from '../../src/image-files/needed.ts';
import { formatListedImage, parseListedImage } from '../../src/oci/image-name.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { PLAIN_CONTEXT } from '../support/source-context.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('there is none');
  return value;
}

/** What a file needs, a line each: the image, its platforms and the line where it is named. */
function needs(path: string, text: string, variables: Readonly<Record<string, string>> = {}): string[] {
  return shown(source(path, text, variables));
}

function source(path: string, text: string, variables: Readonly<Record<string, string>> = {}): ImageSource {
  return readImageSource({ ...PLAIN_CONTEXT, path, text, variables: (name) => variables[name] });
}

function shown({ images, problems, notes, further }: ImageSource): string[] {
  return [
    ...images.map(({ image, place }) => `${formatListedImage(image)} ${place}`),
    ...problems,
    ...notes.map((note) => `note: ${note}`),
    ...further.map(({ path, place, service }) => `${path} ${place} ${JSON.stringify(service ?? {})}`),
  ];
}

/** What builds of a Dockerfile need for these platforms, `os/architecture[/variant]` each. */
function builds(
  text: string,
  platforms: readonly string[],
  buildArgs: Record<string, string> = {},
): string[] {
  return shown(
    readImageSource({
      ...PLAIN_CONTEXT,
      path: 'Dockerfile',
      text,
      platforms: platforms.flatMap((name) => parsePlatform(name) ?? []),
      buildArgs: new Map(Object.entries(buildArgs)),
    }),
  );
}

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
      'x.dockerfile:6: a variable in from= is not expanded by builders; a stage of its own is needed',
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
      'Dockerfile:2: what becomes of V by %-x is not known',
      'Dockerfile:3: what becomes of V by /x/y is not known',
      'Dockerfile:4: what becomes of V by #1 is not known',
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

describe('a Compose file', () => {
  it('needs the images of its services, variables by their values and defaults', () => {
    const text = `services:
  web:
    image: nginx:\${NGINX:-1.27}
    platform: linux/arm64
  db:
    image: "\${REGISTRY-ghcr.io}/org/db:\${DB_TAG:?set it}"
  cache:
    image: redis:$REDIS\${EMPTY:+x}
  job:
    image: busybox:\${A:-\${B:-1.36}}
    volumes:
      - ./data:/data
      - { type: image, source: "models:$REDIS", target: /models }
`;
    expect(needs('compose.yaml', text, { REDIS: '7', DB_TAG: 'v1', EMPTY: '' })).toEqual([
      'nginx:1.27 linux/arm64 compose.yaml:3',
      'ghcr.io/org/db:v1 compose.yaml:6',
      'redis:7 compose.yaml:8',
      'models:7 compose.yaml:13',
      'busybox:1.36 compose.yaml:10',
    ]);
  });

  it('needs nothing for what is built or never pulled', () => {
    const text = `version: "3.8"
services:
  app: { build: ., image: "app:dev" }
  local: { image: "app:dev", pull_policy: never }
  worker: { command: x }
`;
    expect(needs('docker-compose.yml', text)).toEqual([]);
  });

  it('has anchors, aliases and merged maps', () => {
    const text = `x-base: &base
  image: alpine:3.20
x-tag: &tag golang:1.22
services:
  one: *base
  two:
    <<: *base
  three:
    <<: [*base, { platform: linux/amd64 }]
    image: *tag
`;
    expect(needs('compose.yaml', text)).toEqual([
      'alpine:3.20 compose.yaml:2',
      'golang:1.22 linux/amd64 compose.yaml:10',
    ]);
  });

  it('says what cannot be told', () => {
    const text = `include: [oci://registry/other]
services:
  a: { image: "golang:$UNSET" }
  b:
    image: "x:\${TAG:?is needed}"
  c: { extends: { file: "git@host:repo", service: c } }
  d: { image: Golang }
  e: { build: { dockerfile_inline: "FROM alpine" } }
`;
    expect(needs('c.yaml', text)).toEqual([
      'c.yaml:1: "oci://registry/other" is not looked into: name what it needs in a list, too',
      'c.yaml:3: "golang:" is not the name of an image (UNSET is not set)',
      'c.yaml:5: b: TAG is not set: is needed',
      'c.yaml:6: "git@host:repo" is not looked into: name what it needs in a list, too',
      'c.yaml:7: "Golang" is not the name of an image',
      'c.yaml:8: what e is built from is not looked into: name that in a list, too',
    ]);
  });
});

describe('a Compose file as Compose reads it', () => {
  it('has nothing in the place of a variable that is not set, and says so', () => {
    const text = 'services: { web: { image: "${PREFIX}nginx:1.27" } }\n';
    expect(needs('compose.yaml', text)).toEqual([
      'nginx:1.27 compose.yaml:1',
      'note: compose.yaml:1: PREFIX is not set: read as "nginx:1.27"',
    ]);
  });

  it('has the name of its project from outside, from itself or from its folder', () => {
    const image = 'services: { a: { image: "$COMPOSE_PROJECT_NAME-a" } }\n';
    expect(needs('c.yaml', image)).toEqual(['myshop-a:latest c.yaml:1']);
    expect(needs('c.yaml', `name: Other_1\n${image}`)).toEqual(['other_1-a:latest c.yaml:2']);
    expect(needs('c.yaml', `name: other\n${image}`, { COMPOSE_PROJECT_NAME: 'given' })).toEqual([
      'given-a:latest c.yaml:2',
    ]);
  });

  it('needs the images that its builds have as contexts, and names what else looks like images', () => {
    const text = `services:
  a:
    build:
      context: .
      additional_contexts: { base: "docker-image://alpine:3.20", other: ../other }
      cache_from: ["ghcr.io/org/cache:main", "type=registry,ref=ghcr.io/org/b:1"]
      args: [BASE=debian:12, NOTHING=1]
  b:
    build: { context: ., additional_contexts: ["base=docker-image://busybox:1.36"] }
    environment: { RUNNER: "ghcr.io/org/runner:v2", URL: "http://db:5432", HOST: "db:5432" }
    command: ["--image=org/tool:1", --level=info]
`;
    expect(needs('c.yaml', text)).toEqual([
      'alpine:3.20 c.yaml:5',
      'busybox:1.36 c.yaml:9',
      'note: c.yaml:6: a: cache_from "ghcr.io/org/cache:main" is not checked: builds go without it',
      'note: c.yaml:6: a: cache_from "ghcr.io/org/b:1" is not checked: builds go without it',
      'note: c.yaml:7: a: build.args: "debian:12" looks like an image, not checked',
      'note: c.yaml:10: b: environment: "ghcr.io/org/runner:v2" looks like an image, not checked',
      'note: c.yaml:11: b: command: "org/tool:1" looks like an image, not checked',
    ]);
  });
});

describe('a kustomization', () => {
  it('goes on in what it is made of, with what becomes of the images there', () => {
    const text = `resources: [deployment.yaml, ../base, "https://example.com/x.yaml", "github.com/org/repo//base?ref=v1"]
components: [../common]
images:
- { name: nginx, newName: ghcr.io/acme/nginx, newTag: "1.27" }
- { name: app, digest: "${DIGEST}" }
helmCharts: [{ name: x }]
patches: [{ path: p.yaml }]
`;
    const { images, problems, notes, further } = source('overlay/kustomization.yaml', text);
    expect(images).toEqual([]);
    const changes = [
      { name: 'nginx', newName: 'ghcr.io/acme/nginx', newTag: '1.27' },
      { name: 'app', digest: DIGEST },
    ];
    expect(further).toEqual(
      [
        ['deployment.yaml', 1],
        ['../base', 1],
        ['../common', 2],
      ].map(([path, line]) => ({ path, place: `overlay/kustomization.yaml:${line}`, changes })),
    );
    expect(problems).toEqual([
      'overlay/kustomization.yaml:1: "https://example.com/x.yaml" is not looked into: name what it needs in a list, too',
      'overlay/kustomization.yaml:1: "github.com/org/repo//base?ref=v1" is not looked into: name what it needs in a list, too',
      'overlay/kustomization.yaml:6: helmCharts is not followed: name its images in a list, too',
    ]);
    expect(notes).toEqual([
      'overlay/kustomization.yaml:7: patches is not applied: images that it sets are not checked',
    ]);
  });

  it.each([
    ['nginx', 'ghcr.io/acme/nginx:1.27'],
    ['nginx:1.25', 'ghcr.io/acme/nginx:1.27'],
    ['nginx-unprivileged:1.25', 'nginx-unprivileged:1.25'],
    ['docker.io/library/nginx:1.25', 'docker.io/library/nginx:1.25'],
    ['app:dev', `app@${DIGEST}`],
    ['other:1', 'renamed:1'],
    [`other@${DIGEST}`, `renamed@${DIGEST}`],
    ['localhost:5000/other:1', 'localhost:5000/other:1'],
  ])('makes of %s %s', (before, after) => {
    const [needed] = source('pod.yaml', `kind: Pod\nspec: { containers: [{ image: "${before}" }] }\n`).images;
    const changes = [
      { name: 'nginx', newName: 'ghcr.io/acme/nginx', newTag: '1.27' },
      { name: 'app', digest: DIGEST },
      { name: 'other', newName: 'renamed' },
    ];
    const changed = needed === undefined ? undefined : changedImage(needed, changes);
    expect(changed?.spelling).toBe(after);
    expect(changed === undefined ? '' : formatListedImage(changed.image)).toBe(
      formatListedImage({ ...required(parseListedImage(after)), platforms: [] }),
    );
  });
});

describe('a Compose file of several', () => {
  it('goes on in what it includes, and in services of others that its own extend', () => {
    const text = `include:
  - a.yaml
  - { path: [b.yaml, "$C"] }
  - { path: d.yaml, env_file: d.env }
services:
  base: { image: "golang:1.22", platform: linux/amd64 }
  one: { extends: base, platform: linux/arm64 }
  two: { extends: { service: one } }
  three: { extends: { file: ../x.yaml, service: web }, platform: linux/arm64 }
  four: { extends: { file: ../x.yaml, service: web }, image: alpine }
  five: { extends: five }
  six: { extends: { file: ../x.yaml, service: web }, build: . }
`;
    expect(needs('c.yaml', text, { C: 'c/c.yaml' })).toEqual([
      'golang:1.22 linux/amd64 c.yaml:6',
      'golang:1.22 linux/arm64 c.yaml:6',
      'alpine:latest c.yaml:10',
      'c.yaml:4: the env_file of what it includes is not looked into',
      'a.yaml c.yaml:2 {}',
      'b.yaml c.yaml:3 {}',
      'c/c.yaml c.yaml:3 {}',
      'd.yaml c.yaml:4 {}',
      '../x.yaml c.yaml:9 {"name":"web","platform":"linux/arm64"}',
    ]);
  });

  it('needs of another one what it extends there, and nothing else', () => {
    const text = 'include: [y.yaml]\nservices: { web: { image: nginx }, db: { image: postgres } }\n';
    const only = (name: string) =>
      shown(
        readImageSource({
          ...PLAIN_CONTEXT,
          path: 'x.yaml',
          text,
          service: { name, platform: 'linux/arm64' },
        }),
      );
    expect(only('web')).toEqual(['nginx:latest linux/arm64 x.yaml:2']);
    expect(only('none')).toEqual(['x.yaml:1: there is no service none']);
  });
});

describe('manifests of Kubernetes', () => {
  it('name what looks like an image in words, variables and annotations', () => {
    const text = `kind: Deployment
metadata: { annotations: { sidecar: "istio/proxyv2:1.20.0" } }
spec:
  template:
    metadata: { annotations: { other: "ghcr.io/org/init@${DIGEST}", note: "see org/docs" } }
    spec:
      containers:
      - image: operator:1
        args: ["--runner-image=quay.io/org/runner:v3", "--port=:8080", "redis:6379"]
        env: [{ name: IMAGE, value: "postgres:16-alpine" }, { name: X, value: plain }]
---
kind: ConfigMap
data: { image: "docker.io/library/busybox:1.36", text: "a: b" }
`;
    expect(needs('k.yaml', text)).toEqual([
      'operator:1 k.yaml:8',
      'note: k.yaml:9: args: "quay.io/org/runner:v3" looks like an image, not checked',
      'note: k.yaml:10: env: "postgres:16-alpine" looks like an image, not checked',
      'note: k.yaml:2: annotations: "istio/proxyv2:1.20.0" looks like an image, not checked',
      expect.stringMatching(
        /^note: k.yaml:5: annotations: "ghcr.io\/org\/init@sha256.*" looks like an image, not checked$/,
      ),
      'note: k.yaml:13: data: "docker.io/library/busybox:1.36" looks like an image, not checked',
    ]);
  });

  it('need the images of all containers of all pods, whatever makes them', () => {
    const pod = (image: string) => `containers: [{ name: x, image: "${image}" }]`;
    const text = `apiVersion: v1
kind: Pod
spec:
  initContainers:
    - { name: a, image: "busybox:1" }
  containers:
    - name: b
      image: nginx:1.27
  ephemeralContainers: [{ name: c, image: "alpine:3" }]
  volumes:
    - { name: v, image: { reference: "ghcr.io/org/data:1" } }
    - { name: w, emptyDir: {} }
---
# nothing
---
kind: Deployment
spec: { template: { spec: { nodeSelector: { kubernetes.io/arch: arm64 }, ${pod('one')} } } }
---
kind: StatefulSet
spec: { template: { spec: { ${pod('two')} } } }
---
kind: DaemonSet
spec: { template: { spec: { nodeSelector: { kubernetes.io/arch: amd64, kubernetes.io/os: windows }, ${pod('three')} } } }
---
kind: Job
spec: { template: { spec: { ${pod('four')} } } }
---
kind: CronJob
spec: { jobTemplate: { spec: { template: { spec: { ${pod('five')} } } } } }
---
kind: List
items:
  - { kind: ReplicaSet, spec: { template: { spec: { ${pod('six')} } } } }
  - { kind: PodTemplate, template: { spec: { ${pod(`seven:1@${DIGEST}`)} } } }
---
kind: ConfigMap
data: { image: eight }
`;
    expect(needs('all.yaml', text).map((line) => line.replace(/ all.yaml:.*/, ''))).toEqual([
      'busybox:1',
      'nginx:1.27',
      'alpine:3',
      'ghcr.io/org/data:1',
      'one:latest linux/arm64',
      'two:latest',
      'three:latest windows/amd64',
      'four:latest',
      'five:latest',
      'six:latest',
      `seven@${DIGEST}`,
    ]);
    expect(needs('all.yaml', text)[1]).toBe('nginx:1.27 all.yaml:8');
  });

  it('may be JSON, and a list that holds itself ends', () => {
    const json = JSON.stringify({ kind: 'Pod', spec: { containers: [{ image: 'nginx' }] } }, undefined, 2);
    expect(needs('pod.json', json)).toEqual(['nginx:latest pod.json:6']);
    expect(
      needs('x.yaml', '&a\nkind: List\nitems: [*a]\nspec: { containers: [{ image: nginx }] }\n'),
    ).toHaveLength(1);
  });

  it('need what custom resources call an image, wherever they do', () => {
    const text = `apiVersion: argoproj.io/v1alpha1
kind: Workflow
spec:
  templates:
    - container: { image: "nginx:1" }
    - script: { image: "python:3" }
---
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
spec:
  replicatedJobs:
    - template:
        spec:
          template:
            spec:
              nodeSelector: { kubernetes.io/arch: arm64 }
              initContainers: [{ image: "busybox:1" }]
              containers: [{ image: "worker:1" }]
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
spec:
  values:
    image: { repository: org/app, tag: v1 }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec: { versions: [{ schema: { properties: { image: string } } }] }
`;
    expect(needs('custom.yaml', text)).toEqual([
      'nginx:1 custom.yaml:5',
      'python:3 custom.yaml:6',
      'busybox:1 linux/arm64 custom.yaml:17',
      'worker:1 linux/arm64 custom.yaml:18',
      'custom.yaml:24: how this image is put together is not known: name it in a list, too',
    ]);
  });

  it('that are templates are refused where they are', () => {
    expect(() => needs('chart.yaml', 'kind: Pod\nspec:\n  {{- toYaml .x }}\n')).toThrow(
      /^chart.yaml:3: this is not valid YAML/,
    );
    expect(needs('c.yaml', 'kind: Pod\nspec: { containers: [{ image: "{{ .image }}" }] }')).toEqual([
      'c.yaml:2: "{{ .image }}" is not the name of an image',
    ]);
  });
});

describe('a file of few lines', () => {
  const nine = (name: string): string => Array.from({ length: 9 }, () => `*${name}`).join(', ');

  it('does not make maps be merged a billion times', () => {
    const layers = Array.from(
      { length: 12 },
      (_, at) => `x${at + 1}: &a${at + 1} { <<: [${nine(`a${at}`)}] }`,
    );
    const text = ['x0: &a0 { image: alpine }', ...layers, 'services: { one: *a7 }'].join('\n');
    expect(needs('compose.yaml', text)).toEqual(['alpine:latest compose.yaml:1']);
  });

  it('does not make objects be listed a billion times', () => {
    const list = (name: string, of: string): string =>
      `${name}: &${name} { kind: List, items: [${nine(of)}] }`;
    const pod = 'a: &a { kind: Pod, spec: { containers: [{ image: alpine }] } }';
    const lists = ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k'].map((name, at) =>
      list(name, 'abcdefghij'[at] ?? ''),
    );
    const text = ['kind: List', pod, ...lists, 'items: [*k]'].join('\n');
    expect(needs('all.yaml', text)).toEqual(['alpine:latest all.yaml:2']);
    const custom = ['apiVersion: example.com/v1', 'kind: Many', 'a: &a [{ image: alpine }]'];
    const layers = 'bcdefghijk'
      .split('')
      .map((name, at) => `${name}: &${name} [${nine('abcdefghij'[at] ?? '')}]`);
    expect(needs('many.yaml', [...custom, ...layers].join('\n'))).toEqual(['alpine:latest many.yaml:3']);
  });
});

describe('a file that names images', () => {
  it('can be a lock or a list as well', () => {
    expect(needs('images.lock', `version: 1\nimages:\n  - { image: golang, digest: "${DIGEST}" }\n`)).toEqual(
      [`golang@${DIGEST} images.lock`],
    );
    expect(needs('images.txt', 'golang:1.22\n')).toEqual(['golang:1.22 images.txt']);
    expect(needs('images.txt', '')).toEqual([]);
  });

  it('is refused if it is YAML of another kind', () => {
    expect(() => needs('x.yaml', '---\nname: x\n')).toThrow('x.yaml:2: this is no Compose file');
    expect(() => needs('x.yaml', `kind: ${'['.repeat(100_000)}`)).toThrow('x.yaml:1: this is not valid YAML');
    expect(() => needs('x', 'name: x\n')).toThrow('x:1: this is no Compose file');
  });
});

describe('variables', () => {
  const variables = (name: string) => ({ A: 'a', EMPTY: '' })[name];

  it.each([
    ['$A-${A}', 'a-a'],
    ['${B:-x}${EMPTY:-y}${EMPTY-z}', 'xy'],
    ['${A:+x}${EMPTY:+y}${EMPTY+z}${B+w}', 'xz'],
    ['${A:-${B}}', 'a'],
    ['${B:-${A}}', 'a'],
    ['$$A $', '$A $'],
    ['${A:?why}', 'a'],
    ['$A}', 'a}'],
  ])('%s is %j', (text, expected) => {
    expect(interpolate(text, { variables, escape: '$$' })).toBe(expected);
  });

  it.each([
    ['${EMPTY:?say it}', 'EMPTY is not set: say it'],
    ['${B?}', 'B is not set'],
    ['${A', 'a ${ is not closed by }'],
    ['${}', 'a ${ is not closed by }'],
    ['${B:-'.repeat(50), 'a ${ is not closed by }'],
  ])('%s has no value', (text, message) => {
    expect(() => interpolate(text, { variables, escape: '$$' })).toThrow(message);
  });

  it('are nothing where they are not set, and told of if they count', () => {
    const unset = (text: string): string[] => {
      const names: string[] = [];
      interpolate(text, { variables, escape: '$$', onUnset: (name) => names.push(name) });
      return names;
    };
    expect(interpolate('x$B-${C}', { variables, escape: '$$' })).toBe('x-');
    expect(unset('x$B-${C}$B')).toEqual(['B', 'C']);
    expect(unset('${A:-$B}${EMPTY-$B}${B:+$C}')).toEqual([]);
    expect(unset('${EMPTY:-${D:-$B}}')).toEqual(['B']);
  });

  it('come from an .env file', () => {
    const text = `# comment
A=1
export B = two words # comment
C="x \\"y\\" #z \${A}"
D='raw $A'
E=\${A}-\${OUTER}-\${NONE}
F=
nonsense
G=a#b
H="line\\nbreak"
`;
    expect([...parseDotenv(text, (name) => (name === 'OUTER' ? 'o' : undefined))]).toEqual([
      ['A', '1'],
      ['B', 'two words'],
      ['C', 'x "y" #z 1'],
      ['D', 'raw $A'],
      ['E', '1-o-'],
      ['F', ''],
      ['G', 'a#b'],
      ['H', 'line\nbreak'],
    ]);
  });
});
