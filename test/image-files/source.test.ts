import { describe, expect, it } from 'vitest';
import { needs } from '../support/source-context.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;

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
    expect(() => needs('x.yaml', '---\nname: x\n')).toThrow('x.yaml:2: not a Compose file');
    expect(() => needs('x.yaml', `kind: ${'['.repeat(100_000)}`)).toThrow('x.yaml:1: this is not valid YAML');
    expect(() => needs('x', 'name: x\n')).toThrow('x:1: not a Compose file');
  });
});
