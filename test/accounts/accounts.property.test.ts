import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCredentials } from '../../src/accounts/accounts.ts';
import { parseHtpasswd } from '../../src/accounts/files.ts';
import { parseTokenFile } from '../../src/accounts/files.ts';
import { clientAddress } from '../../src/http/server/addresses.ts';
import { networkMatcher } from '../../src/http/server/addresses.ts';
import { FileError } from '../../src/lib/errors.ts';
import { networkPrefix } from '../../src/lib/networks.ts';

const address = fc.oneof(fc.ipV4(), fc.ipV6());
const nonsense = fc.oneof(
  fc.string(),
  fc.constantFrom('', ' ', ',', '[', ']:', '::', 'unknown', '_hidden', '"1.2.3.4"'),
);

/** All that is read of a request to tell its client. */
function requestOf(peer: string | undefined, header: string): IncomingMessage {
  return {
    socket: { remoteAddress: peer },
    headers: { 'x-forwarded-for': header },
  } as unknown as IncomingMessage;
}

describe('the address of a client', () => {
  const isTrusted = networkMatcher(['10.0.0.0/8', 'fd00::/8']);

  it('is an address, whatever stands in the header', () => {
    const hops = fc.array(fc.oneof(address, nonsense)).map((list) => list.join(','));
    fc.assert(
      fc.property(fc.constantFrom('10.0.0.1', 'fd00::1', '::ffff:10.0.0.1'), hops, (peer, header) => {
        expect(isIP(clientAddress(requestOf(peer, header), isTrusted))).not.toBe(0);
      }),
    );
  });

  it('is that of the peer, unless it is trusted', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.string(), (peer, header) => {
        fc.pre(!isTrusted(peer));
        expect(clientAddress(requestOf(peer, header), isTrusted)).toBe(peer);
      }),
    );
  });

  it('does not depend on what stands left of the first that is not trusted', () => {
    const proxies = fc.array(fc.constantFrom('10.1.2.3', 'fd00::7'));
    fc.assert(
      fc.property(fc.string(), fc.ipV4(), proxies, (madeUp, client, between) => {
        fc.pre(!isTrusted(client));
        const header = [madeUp, client, ...between].join(', ');
        expect(clientAddress(requestOf('10.0.0.1', header), isTrusted)).toBe(client);
      }),
    );
  });
});

describe('what clients and files say of accounts', () => {
  it('is read back as it was written, whatever names and passwords are', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !text.includes(':'));
    fc.assert(
      fc.property(name, fc.string({ unit: 'grapheme' }), (user, secret) => {
        const value = Buffer.from(`${user}:${secret}`).toString('base64');
        const expected = {
          kind: 'basic',
          name: Buffer.from(user).toString(),
          secret: Buffer.from(secret).toString(),
        };
        expect(parseCredentials(`Basic ${value}`)).toEqual(expected);
      }),
    );
  });

  it('breaks nothing, and is quoted nowhere', () => {
    fc.assert(
      fc.property(fc.string(), fc.stringMatching(/^[a-z]{12}$/), (text, word) => {
        parseCredentials(text);
        for (const parse of [parseHtpasswd, parseTokenFile]) {
          try {
            parse(`${text}${word}`);
          } catch (error) {
            expect(error).toBeInstanceOf(FileError);
            expect(String(error)).not.toContain(word);
          }
        }
      }),
    );
  });

  it('a network is told of any text', () => {
    fc.assert(
      fc.property(fc.oneof(address, nonsense), fc.integer({ min: 1, max: 32 }), (text, bits) => {
        expect(networkPrefix(text, { v4: bits, v6: bits * 4 })).toBeTypeOf('string');
      }),
    );
  });
});
