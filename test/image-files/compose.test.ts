import { describe, expect, it } from 'vitest';
import { readImageSource } from '../../src/image-files/source.ts';
import { needs, PLAIN_CONTEXT, shown } from '../support/source-context.ts';

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
      'c.yaml:1: "oci://registry/other" is not read; name its images in a list',
      'c.yaml:3: "golang:" is not the name of an image (UNSET is not set)',
      'c.yaml:5: b: TAG is not set: is needed',
      'c.yaml:6: "git@host:repo" is not read; name its images in a list',
      'c.yaml:7: "Golang" is not the name of an image',
      'c.yaml:8: e: dockerfile_inline is not read; name its images in a list',
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
      'note: c.yaml:6: a: cache_from "ghcr.io/org/cache:main" is not checked: builds work without it',
      'note: c.yaml:6: a: cache_from "ghcr.io/org/b:1" is not checked: builds work without it',
      'note: c.yaml:7: a: build.args: "debian:12" looks like an image, not checked',
      'note: c.yaml:10: b: environment: "ghcr.io/org/runner:v2" looks like an image, not checked',
      'note: c.yaml:11: b: command: "org/tool:1" looks like an image, not checked',
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
      'alpine:latest c.yaml:10',
      'c.yaml:4: env_file of include is not read',
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
    expect(only('none')).toEqual(['x.yaml:1: no service "none"']);
  });
});
