import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseChallenges } from '../../../src/upstream/auth/challenge.ts';

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/;

/** Challenges in a shape that can be compared. */
function challengesIn(...lines: string[]): unknown[] {
  return parseChallenges(lines).map(({ scheme, token68, parameters }) => ({
    scheme,
    ...(token68 === undefined ? {} : { token68 }),
    ...Object.fromEntries(parameters),
  }));
}

describe('the parser of challenges', () => {
  test('reads what Docker Hub sends', () => {
    const line =
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"';
    expect(challengesIn(line)).toEqual([
      {
        scheme: 'bearer',
        realm: 'https://auth.docker.io/token',
        service: 'registry.docker.io',
        scope: 'repository:library/alpine:pull',
      },
    ]);
  });

  test('reads several challenges of one line and of several', () => {
    expect(
      challengesIn('Negotiate, Basic realm="a, b", Bearer realm="https://r/",error="x"', 'Digest qop=auth'),
    ).toEqual([
      { scheme: 'negotiate' },
      { scheme: 'basic', realm: 'a, b' },
      { scheme: 'bearer', realm: 'https://r/', error: 'x' },
      { scheme: 'digest', qop: 'auth' },
    ]);
  });

  test('does not mind the case of schemes and names, blanks around signs, and empty elements', () => {
    expect(challengesIn(', BEARER  Realm = "https://r/" ,, SERVICE=s ,')).toEqual([
      { scheme: 'bearer', realm: 'https://r/', service: 's' },
    ]);
  });

  test('takes escapes, commas and equals signs inside quotes for what they stand for', () => {
    expect(challengesIn(String.raw`Basic realm="a \"b\", c=\\d", charset="UTF-8"`)).toEqual([
      { scheme: 'basic', realm: String.raw`a "b", c=\d`, charset: 'UTF-8' },
    ]);
  });

  test('reads a token68, also before another challenge', () => {
    expect(challengesIn('Negotiate YWJj+/==, Basic realm=x')).toEqual([
      { scheme: 'negotiate', token68: 'YWJj+/==' },
      { scheme: 'basic', realm: 'x' },
    ]);
  });

  test('reads a URL that should have been quoted, and a quote that never ends', () => {
    expect(challengesIn('Bearer realm=https://auth.example/token,service=x')).toEqual([
      { scheme: 'bearer', realm: 'https://auth.example/token', service: 'x' },
    ]);
    expect(challengesIn('Bearer realm="https://auth.example/token')).toEqual([
      { scheme: 'bearer', realm: 'https://auth.example/token' },
    ]);
  });

  test('keeps the first of two parameters of one name', () => {
    expect(challengesIn('Bearer realm="https://one/", realm="https://two/"')).toEqual([
      { scheme: 'bearer', realm: 'https://one/' },
    ]);
  });

  test('goes on after what it cannot understand', () => {
    expect(challengesIn('"what", Basic realm="x", =, Bearer realm="y"')).toEqual([
      { scheme: 'basic', realm: 'x' },
      { scheme: 'bearer', realm: 'y' },
    ]);
  });

  test('reads back every challenge, however it is written', () => {
    const name = fc.stringMatching(TOKEN);
    const value = fc.record({
      text: fc.string({ unit: 'grapheme-ascii' }),
      isPadded: fc.boolean(),
    });
    const challenge = fc.record({ scheme: name, parameters: fc.dictionary(name, value) });
    fc.assert(
      fc.property(fc.array(challenge), (challenges) => {
        const lowered = challenges.map(({ scheme, parameters }) => ({
          scheme,
          parameters: Object.entries(parameters).map(([key, { text, isPadded }]) => ({
            key,
            text,
            isPadded,
          })),
        }));
        const line = lowered
          .map(({ scheme, parameters }) => {
            const written = parameters.map(({ key, text, isPadded }) => {
              const quoted = `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
              return isPadded ? `${key} = ${quoted} ` : `${key}=${quoted}`;
            });
            return `${scheme} ${written.join(',')}`;
          })
          .join(', ');
        const expected = lowered.map(({ scheme, parameters }) => {
          const read = new Map<string, string>();
          for (const { key, text } of parameters) {
            if (!read.has(key.toLowerCase())) read.set(key.toLowerCase(), text);
          }
          return { scheme: scheme.toLowerCase(), parameters: read };
        });
        expect(parseChallenges([line])).toEqual(expected);
      }),
    );
  });

  test('takes any text without throwing', () => {
    const scraps = fc.array(
      fc.constantFrom('"', '\\', ',', '=', ' ', 'Bearer', 'realm', '\t', '\0', 'é', '=='),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          scraps.map((all) => all.join('')),
        ),
        (text) => {
          for (const { scheme } of parseChallenges([text, text])) expect(scheme).toMatch(/^\S+$/);
        },
      ),
    );
  });
});
