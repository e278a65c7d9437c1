import fc, { type Arbitrary } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDigest } from '../../src/oci/digest.ts';
import { ManifestInvalidError, parseManifest, type Descriptor } from '../../src/oci/manifest.ts';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  isImageManifestType,
  isIndexType,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../src/oci/media-types.ts';
import { fittingEntries } from '../../src/oci/platform-order.ts';
import { formatPlatform, showPlatform } from '../../src/oci/platform.ts';
import { fuzz, FUZZ_TIMEOUT_MS, mutated, textNear } from '../support/fuzz.ts';

const RUNS = 20_000;
const DIGEST = `sha256:${'a1'.repeat(32)}`;
const TYPES = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/** What stands where something else is expected. */
const odd: Arbitrary<unknown> = fc.oneof(
  fc.constantFrom(null, true, -1, 0, 1.5, 1e308, 2 ** 53, '', [], {}, 'x'.repeat(5000)),
  fc.jsonValue({ maxDepth: 2 }),
);
const sometimes = (usual: Arbitrary<unknown>): Arbitrary<unknown> =>
  fc.oneof({ weight: 5, arbitrary: usual }, { weight: 1, arbitrary: odd });

const platform = fc.record(
  {
    os: sometimes(fc.constantFrom('linux', 'windows', 'unknown', '', 'LINUX')),
    architecture: sometimes(fc.constantFrom('amd64', 'arm', 'arm64', 'x86_64', 'unknown', '')),
    variant: sometimes(fc.constantFrom('v7', 'v8', 'v9.3', '', '7')),
    'os.version': sometimes(fc.constantFrom('10.0.20348.1', '10.0', '', 'x')),
    'os.features': sometimes(fc.array(fc.constantFrom('win32k', '', 'a'), { maxLength: 3 })),
  },
  { requiredKeys: [] },
);
const descriptor = fc.record(
  {
    digest: sometimes(fc.oneof(fc.constant(DIGEST), textNear(['sha256:', 'a1', DIGEST]))),
    mediaType: sometimes(
      fc.constantFrom(...TYPES, 'application/vnd.oci.image.layer.v1.tar+gzip', 'text/html'),
    ),
    size: sometimes(fc.nat()),
    urls: sometimes(fc.constant(['https://example.com/layer'])),
    platform: sometimes(platform),
    annotations: sometimes(
      fc.constant({
        'vnd.docker.reference.type': 'attestation-manifest',
        'vnd.docker.reference.digest': DIGEST,
      }),
    ),
  },
  { requiredKeys: [] },
);
const descriptors = sometimes(fc.array(sometimes(descriptor), { maxLength: 4 }));
const document = fc.record(
  {
    schemaVersion: fc.oneof({ weight: 9, arbitrary: fc.constant(2) }, { weight: 1, arbitrary: odd }),
    mediaType: sometimes(fc.constantFrom(...TYPES)),
    config: sometimes(descriptor),
    layers: descriptors,
    manifests: descriptors,
    subject: sometimes(descriptor),
    // Computed, or it would be the prototype of this object and no key.
    ['__proto__']: odd,
  },
  { requiredKeys: [] },
);

/** Parses; a document that is none is refused by the one error that is there for it. */
function parsed(bytes: Buffer, contentType: string) {
  try {
    return parseManifest(bytes, contentType);
  } catch (error) {
    expect(error).toBeInstanceOf(ManifestInvalidError);
    return undefined;
  }
}

function expectSound({ digest, mediaType, size }: Descriptor): void {
  expect(parseDigest(digest)).toBe(digest);
  expect(typeof mediaType).toBe('string');
  expect(Number.isSafeInteger(size) && size >= 0, String(size)).toBe(true);
}

function expectUsable(bytes: Buffer, contentType: string): void {
  const manifest = parsed(bytes, contentType);
  if (manifest === undefined) return;
  const { mediaType, content } = manifest;
  if (content.kind === 'image') {
    expect(isImageManifestType(mediaType)).toBe(true);
    for (const each of [content.config, ...content.layers, ...content.foreign]) expectSound(each);
    return;
  }
  expect(isIndexType(mediaType)).toBe(true);
  content.entries.forEach(expectSound);
  for (const wanted of [
    { os: 'linux', architecture: 'arm64' },
    { os: 'windows', architecture: 'amd64' },
  ]) {
    const fitting = fittingEntries(wanted, content.entries);
    expect(fitting.every((entry) => content.entries.includes(entry))).toBe(true);
  }
  for (const entry of content.entries) {
    if (entry.platform === undefined) continue;
    expect(typeof formatPlatform(entry.platform)).toBe('string');
    expect(showPlatform(entry.platform)).toMatch(/^[\x21-\x7e]{0,80}$/);
  }
}

describe('a manifest', () => {
  it(
    'with anything where something else is expected is refused, or all that is taken from it is sound',
    { timeout: FUZZ_TIMEOUT_MS },
    () => {
      fc.assert(
        fc.property(document, fc.constantFrom(...TYPES, 'text/plain', ''), (json, contentType) => {
          expectUsable(Buffer.from(JSON.stringify(json)), contentType);
        }),
        fuzz(RUNS),
      );
    },
  );

  it(
    'with damaged bytes is refused, or all that is taken from it is sound',
    { timeout: FUZZ_TIMEOUT_MS },
    () => {
      const damaged = document.chain((json) => mutated(JSON.stringify(json)));
      fc.assert(
        fc.property(damaged, fc.constantFrom(...TYPES), (text, contentType) => {
          expectUsable(Buffer.from(text, 'latin1'), contentType);
        }),
        fuzz(RUNS),
      );
    },
  );
});
