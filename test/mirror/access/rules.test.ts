import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PullRules, type PullPatterns } from '../../../src/mirror/access/rules.ts';

/** How much of a repository on docker.io the patterns let through. */
function rule(patterns: PullPatterns, name: string, host = 'docker.io') {
  return new PullRules({ [host]: patterns }).of({ host, name });
}

function allows(patterns: PullPatterns, image: string, host = 'docker.io'): boolean {
  const [name = '', tag = ''] = image.split(':');
  return new PullRules({ [host]: patterns }).allowsTag({ host, name }, tag);
}

describe('the patterns of an upstream', () => {
  it.each<[PullPatterns, string, string]>([
    [{}, 'a/b', 'all'],
    [{ allow: [] }, 'a/b', 'none'],
    [{ allow: ['a/*'] }, 'a/b', 'all'],
    [{ allow: ['a/*'] }, 'a/b/c', 'none'],
    [{ allow: ['a/**'] }, 'a/b/c', 'all'],
    [{ allow: ['a/*'] }, 'aa/b', 'none'],
    [{ allow: ['golang'] }, 'library/golang', 'all'],
    [{ allow: ['*'] }, 'a/b/c', 'all'],
    [{ allow: ['**'] }, 'a/b/c', 'all'],
    [{ allow: ['a/b:1.*'] }, 'a/b', 'some-tags'],
    [{ allow: ['a/b:1.*', 'a/*'] }, 'a/b', 'all'],
    [{ deny: ['a/b'] }, 'a/b', 'none'],
    [{ deny: ['a/b'] }, 'a/c', 'all'],
    [{ allow: ['a/b'], deny: ['a/*'] }, 'a/b', 'none'],
    [{ deny: ['a/b:old'] }, 'a/b', 'some-tags'],
    [{ deny: ['*:nightly'] }, 'x/y', 'some-tags'],
    [{ deny: ['docker.io/a/b'] }, 'a/b', 'none'],
    [{ deny: ['docker.io/golang'] }, 'library/golang', 'none'],
    [{ allow: ['docker.io/a/b:1'] }, 'a/b', 'some-tags'],
    [{ deny: ['quay.io/a/b'] }, 'a/b', 'all'],
  ])('%j lets of %s through: %s', (patterns, name, expected) => {
    expect(rule(patterns, name)).toBe(expected);
  });

  it.each<[PullPatterns, string, boolean]>([
    [{}, 'a/b:x', true],
    [{ allow: ['a/b:1.*'] }, 'a/b:1.22', true],
    [{ allow: ['a/b:1.*'] }, 'a/b:11', false],
    [{ allow: ['a/b:1.*'] }, 'a/c:1.22', false],
    [{ allow: ['a/*'], deny: ['a/b:*-rc*'] }, 'a/b:1-rc1', false],
    [{ allow: ['a/*'], deny: ['a/b:*-rc*'] }, 'a/b:1', true],
    [{ allow: ['golang:1.22'] }, 'library/golang:1.22', true],
  ])('%j lets %s through: %s', (patterns, image, expected) => {
    expect(allows(patterns, image)).toBe(expected);
  });

  it('of one host say nothing of another, where a single component is no more than that', () => {
    const rules = new PullRules({ 'docker.io': { allow: [] }, 'ghcr.io': { allow: ['golang'] } });
    expect(rules.of({ host: 'quay.io', name: 'a/b' })).toBe('all');
    expect(rules.of({ host: 'ghcr.io', name: 'golang' })).toBe('all');
    expect(rules.of({ host: 'ghcr.io', name: 'library/golang' })).toBe('none');
  });

  it('never let through what deny names', () => {
    const pattern = fc.constantFrom('a/b', 'a/*', '**', 'a/b:1', 'a/*:*', '*:2');
    fc.assert(
      fc.property(fc.array(pattern), pattern, fc.constantFrom('1', '2'), (allow, deny, tag) => {
        const repository = { host: 'quay.io', name: 'a/b' };
        const isDenied = !new PullRules({ 'quay.io': { deny: [deny] } }).allowsTag(repository, tag);
        const rules = new PullRules({ 'quay.io': { allow, deny: [deny] } });
        return !isDenied || !rules.allowsTag(repository, tag);
      }),
    );
  });
});
