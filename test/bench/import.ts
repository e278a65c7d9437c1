import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { manifestOf } from '../../src/oci/manifest.ts';
import { Bundle } from '../../src/bundle/writer.ts';
import { humanBytes, humanDuration } from '../../src/lib/text.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { parseImageName } from '../../src/oci/image-name.ts';
import { bytesContent, generatedContent, type Content } from '../fake/content.ts';
import { image } from '../fixtures/images.ts';
import { opaqueLayer } from '../fixtures/tar.ts';
import type { Command } from './command.ts';
import { circumstances } from './machine.ts';
import { count } from './options.ts';
import { MemoryWatch, type Memory } from './process-probe.ts';
import { PROGRAM_PATH } from './programs.ts';
import { formatNumber, table } from './report.ts';
import { missingForStage, onStage, type Stage } from './stage.ts';

const NAME = 'library/large';
const CHUNK_BYTES = 1024 * 1024;
const LAYERS = 20;
/** What is promised: memory does not grow with the bundle. */
const MAX_ANON_BYTES = 250_000_000;

const USAGE = `npm run bench -- import [options]

  Imports a bundle of ${LAYERS} large layers beside a running server, and exports it again. Beside it the same bytes are
  written plainly and synced: the speed of the disk. Fails above 250 MB of anonymous memory of any process.

  --megabytes <n>    size of the bundle (default 2000)
  --node <path>      the Node binary that runs Pierhead (default: this one)
  --no-write         leave RESULTS.md as it is
`;

interface ImportOptions {
  readonly megabytes: number;
  readonly node: string;
}

function parse(argv: readonly string[]): ImportOptions | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      megabytes: { type: 'string', default: '2000' },
      node: { type: 'string', default: process.execPath },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  return { megabytes: count('--megabytes', values.megabytes), node: values.node };
}

export const IMPORT: Command<ImportOptions> = {
  usage: USAGE,
  parse,
  missing: missingForStage,
  run: (options, { root, say, report }) =>
    onStage({ root, node: options.node }, async (stage) => {
      const { line } = circumstances(root);
      const bundle = join(stage.dataDir, '..', 'bundle.tar');
      const again = join(stage.dataDir, '..', 'again.tar');
      const bytes = await writeBundle(bundle, options.megabytes * 1e6);
      const plainMs = await timed(() => copyPlainly(bundle, again));
      await rm(again);
      const run = (...args: string[]): Promise<Memory> => measured(stage, { root, node: options.node, args });
      let importer: Memory | undefined;
      const importMs = await timed(async () => (importer = await run('import', bundle)));
      let exporter: Memory | undefined;
      const exportMs = await timed(async () => (exporter = await run('export', '-o', again, NAME)));
      const isSame = (await digestOfFile(bundle)) === (await digestOfFile(again));
      const told = (what: string, ms: number): void =>
        say(`${what}: ${humanDuration(ms)}, ${humanBytes(bytes / (ms / 1000))}/s`);
      say(`a bundle of ${humanBytes(bytes)}, ${LAYERS} layers`);
      told('written plainly and synced', plainMs);
      told('imported beside a server', importMs);
      told('exported again', exportMs);
      const peaks = { server: stage.memory.peak, importer, exporter };
      const anon = Object.entries(peaks).map(([who, peak]) => [who, peak?.anonBytes ?? 0] as const);
      say(`anonymous memory at most: ${anon.map(([who, peak]) => `${who} ${humanBytes(peak)}`).join(', ')}`);
      const failures = [
        ...anon.flatMap(([who, peak]) => (peak > MAX_ANON_BYTES ? [`the ${who} took too much memory`] : [])),
        ...(isSame ? [] : ['what was exported is not what was imported']),
      ];
      for (const failure of failures) say(`FAILED: ${failure}`);
      const rate = (ms: number): string => formatNumber(bytes / 1000 / ms);
      report(
        'import',
        `## Bundles\n\n${line}\n\nA bundle of ${humanBytes(bytes)}, ${LAYERS} layers, is imported beside a server and exported again.` +
          ` Beside it, the same bytes are\nread, written and synced plainly.\n\n${table(
            ['', 'MB/s', 'anonymous memory at most, MB'],
            [
              ['written plainly and synced', rate(plainMs), ''],
              ['imported', rate(importMs), memory(peaks.server, peaks.importer)],
              ['exported', rate(exportMs), memory(peaks.exporter)],
            ],
          )}`,
      );
      return failures.length === 0;
    }),
};

/** Of the server and the command, where both have to do with it. */
function memory(...peaks: readonly (Memory | undefined)[]): string {
  return peaks.map((peak) => formatNumber((peak?.anonBytes ?? 0) / 1e6)).join(' and ');
}

/** Gives its size. */
async function writeBundle(path: string, bytes: number): Promise<number> {
  const layers = Array.from({ length: LAYERS }, (_, at) =>
    opaqueLayer(generatedContent({ size: Math.round(bytes / LAYERS), seed: 100 + at })),
  );
  const { root, blobs, config } = image({ message: 'large', layers });
  const name = parseImageName(NAME);
  if (name === undefined) throw new Error(`${NAME} is no name`);
  const contents = new Map<Digest, Content>(blobs.map((blob) => [blob.digest, blob]));
  const bundle = new Bundle(
    {
      images: [{ name, root: { digest: root.digest, mediaType: root.mediaType, size: root.bytes.length } }],
      manifests: [manifestOf(root)],
      referrers: [],
      blobs: blobs.map(({ digest, size }) => ({ digest, size })),
      base: [],
      docker: [
        {
          config: config.digest,
          layers: blobs.map(({ digest }) => digest).filter((digest) => digest !== config.digest),
          names: [name],
        },
      ],
    },
    { read: (digest) => read(contents.get(digest) ?? bytesContent(Buffer.alloc(0))) },
  );
  await pipeline(Readable.from(bundle.bytes()), createWriteStream(path));
  return bundle.size;
}

async function* read(content: Content): AsyncGenerator<Buffer, void> {
  const bytes = content.reader();
  for (let at = 0; at < content.size; at += CHUNK_BYTES) {
    // A copy, because the stream may still hold an earlier chunk when the reader reuses its buffer.
    yield Buffer.from(bytes(at, Math.min(CHUNK_BYTES, content.size - at)));
  }
}

async function copyPlainly(from: string, to: string): Promise<void> {
  const file = await open(to, 'w');
  for await (const chunk of createReadStream(from, { highWaterMark: CHUNK_BYTES })) {
    await file.write(chunk as Buffer);
  }
  await file.datasync();
  await file.close();
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

/** Runs a command beside the server; gives the most memory that it held. */
async function measured(
  { dataDir }: Stage,
  { root, node, args }: { readonly root: string; readonly node: string; readonly args: readonly string[] },
): Promise<Memory> {
  const program = [join(root, 'dist/main.js'), ...args, '--data-dir', dataDir];
  const child = spawn(node, program, { env: { PATH: PROGRAM_PATH }, stdio: ['ignore', 'ignore', 'inherit'] });
  const watch = new MemoryWatch(child.pid ?? 0);
  const [code] = (await once(child, 'exit')) as [number | null];
  watch.stop();
  if (code !== 0) throw new Error(`pierhead ${args.join(' ')} ended with ${code}`);
  return watch.peak;
}

async function digestOfFile(path: string): Promise<Digest> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
    chunks.push(Buffer.from(digestOf(chunk as Buffer)));
  }
  return digestOf(Buffer.concat(chunks));
}
