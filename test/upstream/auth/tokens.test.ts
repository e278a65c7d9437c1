import { describe, expect, test } from 'vitest';
import { deferred } from '../../../src/lib/promises.ts';
import { unavailable } from '../../../src/upstream/upstream.ts';
import { TokenCache, type Token } from '../../../src/upstream/auth/tokens.ts';

/** A cache under a clock that stands still, and an issuer that counts. */
function setUp(lifetimeMs = 300_000) {
  const clock = { nowMs: 1_700_000_000_000 };
  const cache = new TokenCache(() => clock.nowMs);
  let issued = 0;
  const issue = (): Promise<Token> => {
    issued += 1;
    return Promise.resolve({ value: `t${issued}`, lifetimeMs });
  };
  return { clock, cache, issue, issued: () => issued };
}

describe('the cache of tokens', () => {
  test('keeps a token until shortly before it expires', async () => {
    const { clock, cache, issue } = setUp(300_000);
    expect(await cache.get('a', { issue })).toEqual({ value: 't1', isFresh: true });
    clock.nowMs += 269_999;
    expect(await cache.get('a', { issue })).toEqual({ value: 't1', isFresh: false });
    clock.nowMs += 1;
    expect(await cache.get('a', { issue })).toEqual({ value: 't2', isFresh: true });
  });

  test('keeps the tokens of different keys apart', async () => {
    const { cache, issue } = setUp();
    expect((await cache.get('a', { issue })).value).toBe('t1');
    expect((await cache.get('b', { issue })).value).toBe('t2');
    expect((await cache.get('a', { issue })).value).toBe('t1');
  });

  test('has one token fetched for all who wait', async () => {
    const { cache } = setUp();
    const gate = deferred<Token>();
    let issued = 0;
    const issue = (): Promise<Token> => {
      issued += 1;
      return gate.promise;
    };
    const all = Array.from({ length: 20 }, () => cache.get('a', { issue }));
    gate.resolve({ value: 't', lifetimeMs: 60_000 });
    expect(new Set((await Promise.all(all)).map(({ value }) => value))).toEqual(new Set(['t']));
    expect(issued).toBe(1);
  });

  test('replaces a rejected token once, and gives the newer one to all who come with the rejected one', async () => {
    const { cache, issue, issued } = setUp();
    await cache.get('a', { issue });
    const replaced = await Promise.all([1, 2, 3].map(() => cache.get('a', { issue, rejected: 't1' })));
    expect(replaced.map(({ value }) => value)).toEqual(['t2', 't2', 't2']);
    expect(await cache.get('a', { issue, rejected: 't1' })).toEqual({ value: 't2', isFresh: true });
    expect(issued()).toBe(2);
  });

  test('shares a failure with all who wait, and does not remember it', async () => {
    const { cache, issue } = setUp();
    const fail = (): Promise<Token> => Promise.reject(new Error('no'));
    const both = await Promise.allSettled([cache.get('a', { issue: fail }), cache.get('a', { issue })]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect((await cache.get('a', { issue })).value).toBe('t1');
  });

  test('asks once more for those who joined a question that took too long', async () => {
    const { cache, issue, issued } = setUp();
    const late = (): Promise<Token> => Promise.reject(unavailable('timeout', 'late'));
    const all = [cache.get('a', { issue: late }), cache.get('a', { issue }), cache.get('a', { issue })];
    const results = await Promise.allSettled(all);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
    expect(issued()).toBe(1);
  });
});
