import { describe, expect, it } from 'vitest';
import { parseDotenv } from '../../src/bundle/dotenv.ts';
import { readImageSource } from '../../src/bundle/image-source.ts';
import { interpolate } from '../../src/bundle/interpolation.ts';
import type { ImageSource } from '../../src/bundle/needed-images.ts';
import { formatListedImage } from '../../src/oci/listed-image.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

/** What a file needs, a line each: the image, its platforms and the line where it is named. */
function needs(path: string, text: string, variables: Readonly<Record<string, string>> = {}): string[] {
  return shown(source(path, text, variables));
}

function source(path: string, text: string, variables: Readonly<Record<string, string>> = {}): ImageSource {
  return readImageSource({ path, text, variables: (name) => variables[name] });
}

function shown({ images, problems, further }: ImageSource): string[] {
  return [
    ...images.map(({ image, place }) => `${formatListedImage(image)} ${place}`),
    ...problems,
    ...further.map(({ path, place, service }) => `${path} ${place} ${JSON.stringify(service ?? {})}`),
  ];
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
FROM app-\${TARGETARCH}
FROM Golang
FROM --platform=arm64 alpine
COPY --from=$X /a /b
COPY --from=a /a /b
`;
    expect(needs('x.dockerfile', text)).toEqual([
      'x.dockerfile:2: TAG is not set and has no default',
      'x.dockerfile:3: TARGETARCH is not set and has no default',
      'x.dockerfile:4: "Golang" is not the name of an image',
      'x.dockerfile:5: "arm64" is not a platform',
      'x.dockerfile:6: a variable in from= is not expanded by builders; a stage of its own is needed',
    ]);
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
      'c.yaml:3: a: UNSET is not set and has no default',
      'c.yaml:5: b: TAG is not set: is needed',
      'c.yaml:6: "git@host:repo" is not looked into: name what it needs in a list, too',
      'c.yaml:7: "Golang" is not the name of an image',
      'c.yaml:8: what e is built from is not looked into: name that in a list, too',
    ]);
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
          path: 'x.yaml',
          text,
          variables: () => undefined,
          service: { name, platform: 'linux/arm64' },
        }),
      );
    expect(only('web')).toEqual(['nginx:latest linux/arm64 x.yaml:2']);
    expect(only('none')).toEqual(['x.yaml:1: there is no service none']);
  });
});

describe('manifests of Kubernetes', () => {
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
    ['$B', 'B is not set and has no default'],
    ['${B}', 'B is not set and has no default'],
    ['${EMPTY:?say it}', 'EMPTY is not set: say it'],
    ['${B?}', 'B is not set'],
    ['${A', 'a ${ is not closed by }'],
    ['${}', 'a ${ is not closed by }'],
    ['${B:-'.repeat(50), 'a ${ is not closed by }'],
  ])('%s has no value', (text, message) => {
    expect(() => interpolate(text, { variables, escape: '$$' })).toThrow(message);
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
