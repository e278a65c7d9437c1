import { expect, it } from 'vitest';
import { Breakers } from '../../../src/upstream/health/breakers.ts';
import { DialGuard } from '../../../src/upstream/connect/dial-guard.ts';
import { unavailable } from '../../../src/upstream/upstream.ts';
import { Transport } from '../../../src/upstream/connect/transport.ts';
import { freePort } from '../../support/free-port.ts';

/** A registry of whom nobody is asked here; its token service refuses all connections. */
async function withoutTokens() {
  const registry = new URL(`http://127.0.0.1:${await freePort()}/`);
  const realm = new URL(`http://127.0.0.1:${await freePort()}/token`);
  const transport = new Transport(
    { connectTimeoutMs: 1000, idleTimeoutMs: 1000, userAgent: 'test' },
    new DialGuard({ registry, networks: [] }),
  );
  const breakers = new Breakers({
    registry,
    ping: new URL('/v2/', registry),
    transport,
    headersTimeoutMs: 1000,
    onChange: () => undefined,
    now: () => 0,
  });
  for (const resource of ['a', 'b', 'c']) {
    const send = () => Promise.reject(unavailable('unreachable', 'connection refused'));
    await breakers
      .tokens(realm)
      .run({ send, resource, hasTime: () => true })
      .catch(() => undefined);
  }
  const close = async (): Promise<void> => {
    breakers.close();
    await transport.close();
  };
  return { breakers, close };
}

it('knows that the token service is away, however many hosts blobs come from meanwhile', async () => {
  const { breakers, close } = await withoutTokens();
  for (let host = 0; host < 100; host++) breakers.of({ url: new URL(`https://cdn-${host}.example/blob`) });
  expect(breakers.outage(true)).toContain('the token service at 127.0.0.1');
  expect(breakers.outage(false)).toBeUndefined();
  await close();
});
