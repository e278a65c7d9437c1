import { describe, expect, it } from 'vitest';
import { registryAddress } from '../../../src/upstream/registry/session.ts';

describe('the address of a registry', () => {
  it.each([
    ['https://ghcr.io', 'https://ghcr.io/v2/', 'https://ghcr.io/v2/a/b/tags/list'],
    ['https://ghcr.io/', 'https://ghcr.io/v2/', 'https://ghcr.io/v2/a/b/tags/list'],
    ['https://x.example/hub', 'https://x.example/hub/v2/', 'https://x.example/hub/v2/a/b/tags/list'],
    ['https://x.example/v2', 'https://x.example/v2/', 'https://x.example/v2/a/b/tags/list'],
    ['https://x.example/p/v2/', 'https://x.example/p/v2/', 'https://x.example/p/v2/a/b/tags/list'],
    ['https://h.example/v2/hub', 'https://h.example/v2/', 'https://h.example/v2/hub/a/b/tags/list'],
    ['https://h.example/p/v2/x/y/', 'https://h.example/p/v2/', 'https://h.example/p/v2/x/y/a/b/tags/list'],
    ['https://h.example/my-v2', 'https://h.example/my-v2/v2/', 'https://h.example/my-v2/v2/a/b/tags/list'],
  ])('%s is pinged at %s and has tags at %s', (url, ping, tags) => {
    const address = registryAddress(new URL(url));
    expect(address.ping.href).toBe(ping);
    expect(address.urlOf('a/b', '/tags/list').href).toBe(tags);
  });

  it('with a project calls repositories by it, in the scope of tokens too', () => {
    expect(registryAddress(new URL('https://h.example/v2/hub')).nameOf('a/b')).toBe('hub/a/b');
    expect(registryAddress(new URL('https://h.example')).nameOf('a/b')).toBe('a/b');
  });
});
