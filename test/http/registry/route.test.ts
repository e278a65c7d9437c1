import { expect, it, onTestFinished } from 'vitest';
import { createRegistryServer } from '../../../src/http/registry/server.ts';
import { listen } from '../../../src/http/server/listener.ts';
import type { Mirror } from '../../../src/mirror/mirror.ts';
import { OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import type { RawHead } from '../../support/http-decoder.ts';
import { fetchRaw } from '../../support/http.ts';
import { ADMISSION, registryOptions } from '../../support/registry-server.ts';

const BYTES = Buffer.from('{}');
const DESCRIPTOR = { digest: digestOf(BYTES), mediaType: OCI_MANIFEST, size: BYTES.length };

/** A server whose mirror has one manifest, under any name; `located` has the names that were read from targets. */
async function server() {
  const located: string[] = [];
  const mayAsk = { network: true, account: true };
  const mirror = {
    locate: (name: string) => {
      located.push(name);
      return { host: 'docker.io', name };
    },
    manifest: () => ({ manifest: { descriptor: DESCRIPTOR, bytes: BYTES }, cache: 'hit' }),
  };
  const account = { name: 'ci', mayPull: () => mayAsk.account };
  const listener = await listen(
    createRegistryServer(
      registryOptions({
        mirror: mirror as unknown as Mirror,
        admission: {
          ...ADMISSION,
          isAllowed: () => mayAsk.network,
          accounts: { authenticate: () => Promise.resolve(account) },
        },
      }),
    ),
    { host: '127.0.0.1', port: 0 },
  );
  onTestFinished(() => listener.cut());
  const ask = (path: string, method = 'GET') => fetchRaw(`${listener.url}${path}`, { method });
  return { ask, located, mayAsk };
}

it('a target is read once, and its answers are all the same', async () => {
  const { ask, located } = await server();
  const path = '/v2/library/golang/manifests/1.22';
  const first = await ask(path);
  expect([first.status, first.body]).toEqual([200, BYTES]);
  const again = await ask(path);
  expect([again.status, again.body]).toEqual([200, BYTES]);
  expect(undated(again.headers)).toEqual(undated(first.headers));
  const head = await ask(path, 'HEAD');
  expect([head.status, head.header('content-length'), head.body.length]).toEqual([200, '2', 0]);
  expect(located).toEqual(['library/golang']);
});

it('a target that was read before is written by nobody, and refused to whom it was allowed before', async () => {
  const { ask, mayAsk } = await server();
  const path = '/v2/library/golang/manifests/1.22';
  expect((await ask(path)).status).toBe(200);
  expect((await ask(path, 'PUT')).status).toBe(405);
  expect((await ask(path, 'DELETE')).status).toBe(405);
  mayAsk.account = false;
  expect((await ask(path)).status).toBe(403);
  mayAsk.account = true;
  mayAsk.network = false;
  expect((await ask(path)).status).toBe(403);
});

it('a malformed part of a target is refused each time', async () => {
  const { ask } = await server();
  for (const path of ['/v2/a/manifests/sha256:x', '/v2/a/manifests/b?platform=c', '/v2/a/blobs/x']) {
    const [first, second] = [await ask(path), await ask(path)];
    expect(first.status).toBe(400);
    expect([second.status, second.body]).toEqual([first.status, first.body]);
  }
});

it('long targets push out earlier ones', async () => {
  const { ask, located } = await server();
  const path = '/v2/library/golang/manifests/1.22';
  await ask(path);
  const long = 'x'.repeat(30_000);
  for (let at = 0; at < 300; at++) await ask(`/v2/a/manifests/b?${at}${long}`);
  await ask(path);
  expect(located.filter((name) => name === 'library/golang')).toHaveLength(2);
});

function undated(headers: RawHead['headers']) {
  return headers.filter(([name]) => name !== 'Date');
}
