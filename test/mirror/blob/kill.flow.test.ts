import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { bigBlob, hubWith, MIB } from '../../support/big-blob.ts';
import { rawRequest } from '../../support/http.ts';
import { startPierhead } from '../../support/pierhead.ts';
import { testFolder } from '../../support/temp.ts';

const big = bigBlob({ size: 24 * MIB + 5, seed: 41 });
const { whole, target } = big;
const KILLS = 12;
/** What a kill may cost: what came since the last note of what is written, and what was on its way. */
const LOST_BYTES = KILLS * 2 * MIB;

it('a server that is killed at random moments serves nothing wrong, and uses what it had fetched', async () => {
  const hub = await hubWith(big);
  hub.fault({ match: { host: 'blobs' }, do: { throttleBytesPerSecond: 5 * MIB } });
  const dataDir = join(await testFolder(), 'data');
  const start = () => startPierhead({ upstreamUrl: hub.url, dataDir });
  for (let kill = 0; kill < KILLS; kill++) {
    const server = await start();
    const get = (path: string) => rawRequest({ origin: server.url, target: path }).catch(() => undefined);
    await get('/v2/library/big/manifests/latest');
    const answers = Promise.all([get(target), get(target)]);
    await Promise.race([answers, delay(300 + Math.random() * 700)]);
    await server.kill();
    for (const answer of await answers) {
      if (answer === undefined) continue;
      expect(answer.body.equals(whole.subarray(0, answer.bodyBytes))).toBe(true);
    }
    await server.close();
    expect(await wrongFiles(dataDir)).toEqual([]);
  }
  hub.clearFaults();
  const last = await start();
  const answer = await rawRequest({ origin: last.url, target });
  expect(answer.body.equals(whole)).toBe(true);
  await last.close();
  expect(await readdir(join(dataDir, 'parts'))).toEqual([]);
  // Without the parts, each start would have fetched everything again.
  expect(hub.bytesSent(big.content.digest)).toBeLessThan(whole.length + LOST_BYTES);
}, 120_000);

/** Files under `blobs/` that are not what their names say. */
async function wrongFiles(dataDir: string): Promise<string[]> {
  const folder = join(dataDir, 'blobs');
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const wrong: string[] = [];
  for (const name of names) {
    const [algorithm, , hex] = name.split('/');
    if (hex === undefined) continue;
    const bytes = await readFile(join(folder, name));
    if (digestOf(bytes) !== `${algorithm}:${hex}`) wrong.push(name);
  }
  return wrong;
}
