import { describe, expect, test } from 'vitest';
import { digestOf } from '../../src/oci/digest.ts';
import { generatedContent } from '../fake/content.ts';
import { startNginxRegistry } from '../support/nginx.ts';
import { startPierhead } from '../support/pierhead.ts';

const KIB = 1024;
/** From where a body is held back to what a queue and a socket hold beside it, and on both sides of that. */
const SIZES = [
  200_000,
  256 * KIB - 1,
  256 * KIB,
  270_001,
  288 * KIB,
  300_000,
  320 * KIB - 1,
  320 * KIB,
  1_000_000,
];

describe.each(['keepalive_timeout 0;', 'keepalive_requests 2;'])('an nginx with %s', (configuration) => {
  test('that closes behind its answers serves blobs of any size', async () => {
    const contents = SIZES.map((size, seed) => generatedContent({ size, seed }));
    const blobs = new Map(contents.map((each) => [each.digest, each.expectedBytes(0, each.size)]));
    const upstreamUrl = await startNginxRegistry({ blobs, configuration });
    const pierhead = await startPierhead({ upstreamUrl });
    try {
      for (const { digest } of contents) {
        const answer = await fetch(`${pierhead.url}/v2/library/any/blobs/${digest}`);
        expect(answer.status).toBe(200);
        expect(digestOf(Buffer.from(await answer.arrayBuffer()))).toBe(digest);
      }
      expect(await pierhead.stop()).toBe(0);
    } finally {
      await pierhead.close();
    }
  });
});
