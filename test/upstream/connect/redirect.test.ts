import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redactUrl } from '../../../src/lib/text.ts';
import { UpstreamFailure } from '../../../src/upstream/upstream.ts';
import { redirectTarget } from '../../../src/upstream/connect/redirect.ts';

const FROM = new URL('https://registry.example/v2/library/a/blobs/sha256:0?x=1');

function reasonOf(location: string | undefined, from = FROM): string {
  try {
    return `went to ${redirectTarget(from, location).href}`;
  } catch (error) {
    if (error instanceof UpstreamFailure) return error.message;
    throw error;
  }
}

describe('the target of a redirect', () => {
  test.each([
    ['https://cdn.example/b?sig=1', 'https://cdn.example/b?sig=1'],
    ['/other', 'https://registry.example/other'],
    ['more', 'https://registry.example/v2/library/a/blobs/more'],
    ['//cdn.example/b', 'https://cdn.example/b'],
    ['?y=2', 'https://registry.example/v2/library/a/blobs/sha256:0?y=2'],
  ])('of %j is %j', (location, target) => {
    expect(redirectTarget(FROM, location).href).toBe(target);
  });

  test.each([undefined, '', 'https://', 'http://[', 'https://a b/'])('is none of %j', (location) => {
    expect(reasonOf(location)).toBe('registry.example redirected without a valid Location');
  });

  test.each(['http://cdn.example/b?sig=secret', 'ftp://cdn.example/b', 'file:///etc/passwd', 'data:,secret'])(
    'is never %j for one who came by https, and the message keeps the query to itself',
    (location) => {
      expect(reasonOf(location)).toContain('which is not https');
      expect(reasonOf(location)).not.toContain('secret');
    },
  );

  test('may be http for one who came by http', () => {
    const from = new URL('http://127.0.0.1:5000/v2/');
    expect(redirectTarget(from, 'http://cdn.example/b').href).toBe('http://cdn.example/b');
    expect(redirectTarget(from, 'https://cdn.example/b').href).toBe('https://cdn.example/b');
    expect(reasonOf('file:///etc/passwd', from)).toContain('which is not https');
  });
});

describe('a URL for messages', () => {
  test('has lost user, password, query and fragment', () => {
    expect(redactUrl(new URL('https://u:p@cdn.example:444/a/b?sig=1#f'))).toBe('https://cdn.example:444/a/b');
  });

  test('never shows a query', () => {
    fc.assert(
      fc.property(fc.webUrl(), fc.stringMatching(/^[a-z0-9]{20}$/), (url, secret) => {
        const signed = new URL(url);
        signed.searchParams.set('sig', secret);
        expect(redactUrl(signed)).not.toContain(secret);
      }),
    );
  });
});
