import { describe, expect, it } from 'vitest';
import { formatImageName, parseImageName } from '../../src/oci/image-name.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

describe('the name of an image', () => {
  it.each([
    ['golang', 'docker.io', 'library/golang', 'latest', 'golang:latest'],
    ['golang:1.22', 'docker.io', 'library/golang', '1.22', 'golang:1.22'],
    ['docker.io/golang:1.22', 'docker.io', 'library/golang', '1.22', 'golang:1.22'],
    ['index.docker.io/library/golang:1.22', 'docker.io', 'library/golang', '1.22', 'golang:1.22'],
    ['Registry-1.docker.io/golang', 'docker.io', 'library/golang', 'latest', 'golang:latest'],
    ['library/golang', 'docker.io', 'library/golang', 'latest', 'golang:latest'],
    ['bitnami/redis:7', 'docker.io', 'bitnami/redis', '7', 'bitnami/redis:7'],
    ['ghcr.io/org/app:v1', 'ghcr.io', 'org/app', 'v1', 'ghcr.io/org/app:v1'],
    ['ghcr.io/library/app', 'ghcr.io', 'library/app', 'latest', 'ghcr.io/library/app:latest'],
    ['localhost/app', 'localhost', 'app', 'latest', 'localhost/app:latest'],
    ['registry.local:5000/app', 'registry.local:5000', 'app', 'latest', 'registry.local:5000/app:latest'],
    ['registry.local:5000/a/b:c', 'registry.local:5000', 'a/b', 'c', 'registry.local:5000/a/b:c'],
  ])('%s is understood, and told in short', (text, host, name, tag, short) => {
    const parsed = parseImageName(text);
    expect(parsed).toEqual({ repository: { host, name }, reference: { kind: 'tag', tag } });
    expect(parsed === undefined ? '' : formatImageName(parsed)).toBe(short);
  });

  it.each([`golang@${DIGEST}`, `golang:1.22@${DIGEST}`])('%s is the one of that digest', (text) => {
    const parsed = parseImageName(text);
    expect(parsed?.reference).toEqual({ kind: 'digest', digest: DIGEST });
    expect(parsed === undefined ? '' : formatImageName(parsed)).toBe(`golang@${DIGEST}`);
  });

  it.each([
    '',
    ':',
    'Golang',
    'golang:',
    'golang:-x',
    'a//b',
    '/a',
    'a/',
    'golang@',
    'golang@sha256:12',
    'a b',
    '../a',
    'ghcr.io/',
    `@${DIGEST}`,
  ])('is not %j', (text) => {
    expect(parseImageName(text)).toBeUndefined();
  });
});
