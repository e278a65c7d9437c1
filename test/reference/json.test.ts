import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { checkJson, type Checked } from '../../src/cli/commands/check.ts';
import { configJson } from '../../src/cli/commands/config.ts';
import { exportJson } from '../../src/cli/commands/export.ts';
import { imagesJson } from '../../src/cli/commands/images.ts';
import { importJson } from '../../src/cli/commands/import.ts';
import { resolveJson } from '../../src/cli/commands/resolve.ts';
import { verifyJson } from '../../src/cli/commands/verify.ts';
import { warmJson } from '../../src/cli/commands/warm.ts';
import { loadSettings } from '../../src/config/load.ts';
import { COMMANDS } from '../../src/commands.ts';
import { digestOf } from '../../src/oci/digest.ts';
import type { BundlePlan } from '../../src/operations/bundle/export-plan.ts';
import type {
  Finding,
  ImportSummary,
  Refreshed,
  Resolution,
  ResolvedManifest,
  VerifySummary,
  WarmSummary,
} from '../../src/operations/protocol.ts';
import type { ImageEntry } from '../../src/store/images.ts';
import { codeBlocks } from '../support/markdown.ts';

/** Nothing left out that may be left out: the compiler asks for a new key here, and then the page lacks it. */
type Full<T> = T extends string | number | boolean | undefined
  ? T
  : T extends readonly (infer E)[]
    ? readonly Full<E>[]
    : { readonly [K in keyof T]-?: Full<Exclude<T[K], undefined>> };

const digest = digestOf(Buffer.from('x'));
const part = { digest, mediaType: 'x', size: 1, isCached: true };
const manifest: Full<ResolvedManifest> = {
  ...part,
  platform: 'linux/amd64',
  attests: digest,
  chosenFor: ['default'],
  state: 'cached',
  isComplete: true,
  config: part,
  layers: [{ ...part, isForeign: false }],
  entries: [],
  moreEntries: 1,
  failure: 'no',
};
const resolution: Full<Resolution> = {
  image: 'golang',
  source: 'fresh',
  root: manifest,
  choices: [{ platform: 'linux/amd64', why: 'default', digest, failure: 'none' }],
  cost: { pulls: 1, isAtLeast: true, remaining: 1 },
  before: digest,
};
const entry: Full<ImageEntry> = {
  repository: 'docker.io/library/golang',
  tags: ['1'],
  digest,
  mediaType: 'x',
  kind: 'index',
  platform: { os: 'linux', architecture: 'amd64', variant: 'v2', osVersion: '1', osFeatures: ['x'] },
  indexes: [digest],
  bytes: 1,
  ownBytes: 1,
  state: 'partial',
  missingBlobs: 1,
  platforms: [{ platform: 'linux/amd64', state: 'partial', missingBlobs: 1, missingAttestations: 1 }],
  before: [{ tag: '1', digest }],
  pulledAt: 0,
  isPinned: false,
};
const warmed: Full<WarmSummary> = {
  images: [
    {
      image: 'golang',
      platforms: ['all'],
      digest,
      manifests: 1,
      blobs: 1,
      bytes: 1,
      fetchedBytes: 1,
      failures: ['no'],
      notes: ['but'],
    },
  ],
  pulls: 1,
  bytes: 1,
  durationMs: 1,
};
const missing = { kind: 'blob', partOf: 'image', digest, size: 1, reason: 'no' } as const;
const checked: Full<Checked> = {
  images: [
    {
      image: 'golang',
      digest,
      isReady: false,
      problems: ['no'],
      platforms: [{ platform: 'all', isComplete: false, blobs: 1, bytes: 1, missing: [missing] }],
      foreignLayers: 0,
      neededBy: ['a:1'],
    },
  ],
  problems: ['no'],
  notes: ['but'],
};
const plan: BundlePlan = {
  draft: { images: [], manifests: [], referrers: [], blobs: [], base: [], docker: [] },
  images: [{ image: 'golang', digest, platforms: ['linux/amd64'] }],
  lacking: [{ image: 'app', lacks: ['a blob'] }],
  unmatched: [],
  foreign: [{ image: 'win', digest, size: 1 }],
};
const imported: Full<ImportSummary> = {
  images: [{ image: 'golang', digest }],
  manifests: 1,
  stored: { blobs: 1, bytes: 1 },
  known: { blobs: 1, bytes: 1 },
  signature: 'verified',
  isPinned: true,
  unservedHosts: ['quay.io'],
  durationMs: 1,
};
const verified: Full<VerifySummary> = {
  blobs: 1,
  manifests: 1,
  bytes: 1,
  problems: 1,
  repaired: 0,
  adopted: 0,
  durationMs: 1,
};
const finding: Full<Finding> = {
  content: 'blob',
  digest,
  problem: 'corrupt',
  size: 1,
  outcome: 'removed',
  reason: 'no',
  repositories: ['docker.io/library/golang'],
  images: ['docker.io/library/golang:1'],
};
const moved: Refreshed = { image: 'golang', result: 'moved', from: digest, to: digest };
const { sources } = loadSettings({
  flags: { config: 'p.yaml' },
  env: { PIERHEAD_OFFLINE: 'true' },
  cwd: '/srv',
  readFile: () => 'tagTtl: 5m',
});
const shown = sources.filter(({ key }) => ['tagTtl', 'offline'].includes(key));

const PRINTED: Readonly<Record<string, string>> = {
  'GET /api/v1/config': JSON.stringify(shown),
  'POST /api/v1/refresh': JSON.stringify(moved),
  'config --json': configJson(shown.filter(({ key }) => key === 'tagTtl')),
  'images --json': imagesJson([entry]),
  'resolve --json': resolveJson({ ...resolution, root: { ...manifest, entries: [manifest] } }),
  'warm --json': warmJson(warmed),
  'check --json': checkJson(checked),
  'export --json': exportJson({ plan, files: ['images.tar'], bytes: 1 }),
  'import --json': importJson([imported]),
  'verify --json': verifyJson([finding], verified),
};

/** The paths of all keys: `images[].digest`; an entry of an index has the keys of the index. */
function keysOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => keysOf(each, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => {
    const name = path.endsWith('.entries[]')
      ? `${path.slice(0, -'.entries[]'.length)}.${key}`
      : `${path}.${key}`;
    return [name, ...keysOf(each, name)];
  });
}

const page = readFileSync(new URL('../../docs/reference/api.md', import.meta.url), 'utf8');

function exampleBelow(heading: string): unknown {
  const [, section = ''] = page.split(`\n### ${heading}\n`);
  const [block] = codeBlocks(section).filter(({ language }) => language === 'json');
  return JSON.parse(block?.text ?? 'null');
}

it.each(Object.entries(PRINTED))('docs/reference/api.md shows all keys of %s', (heading, printed) => {
  const keys = (value: unknown) => [...new Set(keysOf(value))].sort();
  expect(keys(exampleBelow(heading))).toEqual(keys(JSON.parse(printed)));
});

it('docs/reference/api.md shows the output of each command that has --json', () => {
  const commands = COMMANDS.filter(({ options }) => options?.some(([flag]) => flag === '--json'));
  const shapes = Object.keys(PRINTED).filter((heading) => heading.endsWith(' --json'));
  expect(shapes.sort()).toEqual(commands.map(({ name }) => `${name} --json`).sort());
});
