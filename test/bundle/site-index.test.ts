import { describe, expect, it } from 'vitest';
import { isSiteIndex, parseSiteIndex, renderSiteIndex } from '../../src/bundle/site-index.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';

const digests = Array.from({ length: 3000 }, (_, at) => digestOf(Buffer.from(String(at)))).sort();

async function rendered(given: readonly Digest[]): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of renderSiteIndex(given)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('the index of a site', () => {
  it('is read as it was written', async () => {
    for (const given of [digests, digests.slice(0, 1), []]) {
      const bytes = await rendered(given);
      expect(isSiteIndex(bytes)).toBe(true);
      expect([...parseSiteIndex(bytes.toString())]).toEqual(given);
    }
  });

  it('is lines that people and programs can read', async () => {
    expect((await rendered(digests.slice(0, 2))).toString()).toBe(
      `pierhead index 1\n${digests[0]}\n${digests[1]}\nend 2\n`,
    );
  });

  it('is refused if it was cut anywhere, has a line too many or too few, or is of another version', async () => {
    const text = (await rendered(digests.slice(0, 5))).toString();
    for (let end = 17; end < text.length - 1; end++) {
      expect(() => parseSiteIndex(text.slice(0, end)), text.slice(0, end)).toThrow();
    }
    expect(() => parseSiteIndex(text.replace(`${digests[2]}\n`, ''))).toThrow('cut short');
    expect(() => parseSiteIndex(text.replace('index 1', 'index 2'))).toThrow('this Pierhead reads version 1');
    expect(() => parseSiteIndex(text.replace(/sha256:./, 'sha256:x'))).toThrow('line 2 of the index');
    expect(isSiteIndex(Buffer.from('oci-layout'))).toBe(false);
  });
});
