import { describe, expect, it } from 'vitest';
import { sharesDomain } from '../../src/lib/domain.ts';

describe('two hosts', () => {
  it.each([
    ['registry-1.docker.io', 'auth.docker.io'],
    ['ghcr.io', 'ghcr.io'],
    ['registry.gitlab.com', 'gitlab.com:443'],
    ['127.0.0.1:5000', '127.0.0.1:5001'],
    ['[::1]:5000', '[::1]'],
    ['localhost:1', 'localhost:2'],
    ['registry.acme.co.uk', 'login.acme.co.uk'],
  ])('%s and %s are of one owner', (one, two) => {
    expect(sharesDomain(one, two)).toBe(true);
    expect(sharesDomain(two, one)).toBe(true);
  });

  it.each([
    ['lscr.io', 'ghcr.io'],
    ['registry-1.docker.io', 'docker.io.evil.example'],
    ['10.0.0.1', '10.0.0.2'],
    ['1.2.0.1', '3.4.0.1'],
    ['registry.acme.co.uk', 'login.evil.co.uk'],
    ['one', 'two'],
    ['io', 'ghcr.io'],
    ['127.0.0.1', 'localhost'],
  ])('%s and %s are not', (one, two) => {
    expect(sharesDomain(one, two)).toBe(false);
    expect(sharesDomain(two, one)).toBe(false);
  });
});
