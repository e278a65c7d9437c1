import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../src/oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../../../src/oci/manifest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../src/oci/media-types.ts';
import type { FakeHub } from '../../fake/hub.ts';
import { filledHub, GOLANG } from '../../support/filled-hub.ts';
import { startTestApp } from '../../support/app.ts';
import { errorMessage } from '../../support/hub-client.ts';
import { longestTurnMs } from '../../support/turns.ts';

const CONFIG = {
  mediaType: 'application/vnd.oci.image.config.v1+json',
  digest: digestOf(Buffer.from('c')),
  size: 1,
};
const EVERYTHING = [['Accept', `${OCI_INDEX}, ${OCI_MANIFEST}`]] as const;

const digests = (count: number) => Array.from({ length: count }, (_, n) => digestOf(Buffer.from(`${n}`)));
const many = (count: number, item: (at: number) => string): string => {
  return Array.from({ length: count }, (_, at) => item(at)).join(',');
};
/** An image with this besides what one has. */
const imageWith = (more: string): string => {
  return `{"schemaVersion":2,"mediaType":"${OCI_MANIFEST}","config":${JSON.stringify(CONFIG)},${more}}`;
};
const indexOf = (entries: string): string => {
  return `{"schemaVersion":2,"mediaType":"${OCI_INDEX}","manifests":[${entries}]}`;
};
const entry = (digest: string, variant: string): string => {
  const platform = { os: 'linux', architecture: 'amd64', variant };
  const annotations = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': digest,
    [`of-${variant}`]: variant,
  };
  return JSON.stringify({ mediaType: OCI_MANIFEST, digest, size: 1, platform, annotations });
};
const layer = (digest: string): string => JSON.stringify({ mediaType: 'application/x', digest, size: 1 });

/** What is as hostile as it can be and still a manifest. */
const ACCEPTED: readonly (readonly [what: string, text: () => string])[] = [
  [
    'ten thousand entries',
    () =>
      indexOf(
        digests(10_000)
          .map((each, at) => entry(each, `v${at}`))
          .join(','),
      ),
  ],
  ['ten thousand layers', () => imageWith(`"layers":[${digests(10_000).map(layer).join(',')}]`)],
  ['one layer ten thousand times', () => imageWith(`"layers":[${many(10_000, () => layer(CONFIG.digest))}]`)],
  ['keys that all differ', () => imageWith(`"layers":[],"a":{${many(190_000, (at) => `"${at}x":0`)}}`)],
  [
    'objects that all differ',
    () =>
      imageWith(
        `"layers":[],"a":[${many(9000, (at) => `{${many(20, (key) => `"${(at * 31 + key * key * 7) % 5000}y":0`)}}`)}]`,
      ),
  ],
  ['texts that all differ', () => imageWith(`"layers":[],"a":[${many(190_000, (at) => `"${at}"`)}]`)],
  ['one text of escapes', () => imageWith(`"layers":[],"a":"${'\\u00e9\\"'.repeat(500_000)}"`)],
  ['white space', () => imageWith(`"layers":[]${' '.repeat(4_000_000)}`)],
  ['one number of a million digits', () => imageWith(`"layers":[],"a":${'1'.repeat(1_000_000)}`)],
  ['numbers beyond all numbers', () => imageWith(`"layers":[],"a":[${many(190_000, () => '-1e999')}]`)],
];

/** What is refused before anything of it is built. */
const REFUSED: readonly (readonly [what: string, text: () => string, why: string])[] = [
  [
    'lists in lists',
    () => imageWith(`"layers":[],"a":${'['.repeat(1_900_000)}${']'.repeat(1_900_000)}`),
    'more than 100 deep',
  ],
  [
    'objects in objects',
    () => imageWith(`"layers":[],"a":${'{"a":'.repeat(600_000)}0${'}'.repeat(600_000)}`),
    'more than 100 deep',
  ],
  [
    'too many keys',
    () => imageWith(`"layers":[],"a":{${many(350_000, (at) => `"${at}":0`)}}`),
    'more than 200000',
  ],
  [
    'too many values',
    () => imageWith(`"layers":[],"a":[${many(1_500_000, () => '0')}]`),
    'more than 200000 values',
  ],
  [
    'too many entries',
    () =>
      indexOf(
        digests(12_001)
          .map((each) => layer(each))
          .join(','),
      ),
    'a list of more than 12000 items',
  ],
  [
    'too many layers',
    () => imageWith(`"layers":[${many(20_000, () => layer(CONFIG.digest))}]`),
    'a list of more than 12000 items',
  ],
  [
    'a size beyond all numbers',
    () => imageWith(`"layers":[{"digest":"${CONFIG.digest}","size":1e999}]`),
    'malformed size',
  ],
];

/** The hub, and a way to pull a manifest of this text through a mirror in front of it. */
async function mirrorOf(hub: FakeHub) {
  const app = await startTestApp({ hub });
  let tags = 0;
  return {
    app,
    add: (text: string): string => {
      const bytes = Buffer.from(text);
      expect(bytes.length).toBeLessThanOrEqual(MAX_MANIFEST_BYTES);
      const root = {
        digest: digestOf(bytes),
        mediaType: text.includes('"manifests"') ? OCI_INDEX : OCI_MANIFEST,
        bytes,
      };
      const tag = `t${tags++}`;
      hub.addManifest('library/hostile', root, [tag]);
      return `/v2/library/hostile/manifests/${tag}`;
    },
  };
}

describe('a manifest of almost 4 MiB', () => {
  it.each(ACCEPTED)(
    'that is made of %s is served as it is, and again from the cache',
    async (_what, text) => {
      const hub = await filledHub();
      const { app, add } = await mirrorOf(hub);
      const target = add(text());
      for (const how of [/; stored$/, /; hit$/]) {
        const answer = await app.get(target, { headers: EVERYTHING });
        expect(answer.status).toBe(200);
        expect(answer.header('cache-status')).toMatch(how);
        expect(digestOf(answer.body)).toBe(answer.header('docker-content-digest'));
      }
    },
  );

  it.each(REFUSED)('that is made of %s is refused with the reason', async (_what, text, why) => {
    const hub = await filledHub();
    const { app, add } = await mirrorOf(hub);
    const answer = await app.get(add(text()), { headers: EVERYTHING });
    expect(answer.status).toBe(404);
    expect(errorMessage(answer)).toContain(why);
    expect(
      (await app.get('/v2/library/golang/manifests/latest', { headers: EVERYTHING })).header(
        'docker-content-digest',
      ),
    ).toBe(GOLANG.image.root.digest);
  });

  it(
    'never keeps others from their turn for long, whatever it is made of',
    { timeout: 120_000 },
    async () => {
      const hub = await filledHub();
      const { app, add } = await mirrorOf(hub);
      const turns: Record<string, number> = {};
      for (const [what, text] of [...ACCEPTED, ...REFUSED]) {
        const target = add(text());
        turns[what] = await longestTurnMs(async () => {
          await app.get(target, { headers: EVERYTHING });
          await app.get(target, { headers: EVERYTHING });
        });
      }
      // On one processor, and several times what is seen; built whole, most of these take a second.
      expect(Math.max(...Object.values(turns)), JSON.stringify(turns)).toBeLessThan(300);
    },
  );
});
