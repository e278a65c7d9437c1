import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { humanBytes, humanDuration } from '../../src/lib/text.ts';
import { generatedContent } from '../fake/content.ts';
import { image } from '../fixtures/images.ts';
import { opaqueLayer } from '../fixtures/tar.ts';
import { readBlob } from './blob-reader.ts';
import type { Command } from './command.ts';
import { promiseRow } from './goals.ts';
import { fetchVerified } from './load.ts';
import { count } from './options.ts';
import type { Memory } from './process-probe.ts';
import { formatNumber, table } from './report.ts';
import { missingForStage, onStage, type Stage } from './stage.ts';

const REPOSITORY = 'library/slow';
const BLOB_BYTES = 512_000_000;
const SLOW_BYTES_PER_SECOND = 1_000_000;
const FAST_READERS = 4;
/** What is promised: memory does not grow with readers or with the size of blobs. */
const MAX_ANON_BYTES = 250_000_000;
const MAX_RESIDENT_MB = 230;

const USAGE = `npm run bench -- slow-readers [options]

  Memory of Pierhead while many slow clients read one cold blob of 512 MB, beside ${FAST_READERS} fast ones that read it
  to its end. Fails above 250 MB of anonymous memory, if upstream sends a byte twice, or if a byte is wrong.

  --readers <n>      slow readers, of 1 MB/s each (default 200)
  --seconds <n>      how long they read (default 60)
  --node <path>      the Node binary that runs Pierhead (default: this one)
  --no-write         leave RESULTS.md as it is
`;

interface SlowReadersOptions {
  readonly readers: number;
  readonly seconds: number;
  readonly node: string;
}

function parse(argv: readonly string[]): SlowReadersOptions | 'help' {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      readers: { type: 'string', default: '200' },
      seconds: { type: 'string', default: '60' },
      node: { type: 'string', default: process.execPath },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  return {
    readers: count('--readers', values.readers),
    seconds: count('--seconds', values.seconds),
    node: values.node,
  };
}

export const SLOW_READERS: Command<SlowReadersOptions> = {
  usage: USAGE,
  parse,
  missing: missingForStage,
  run: (options, { root, circumstances, say, report, promised }) =>
    onStage({ root, node: options.node }, async (stage) => {
      const startedAt = performance.now();
      const { slowBytes, share } = await readSlowly(stage, options);
      const { anonBytes, residentBytes } = stage.memory.peak;
      say(
        `${options.readers} slow readers took ${humanBytes(slowBytes)}; ${FAST_READERS} fast ones all, all of it right`,
      );
      say(`anonymous memory at most ${humanBytes(anonBytes)}, resident ${humanBytes(residentBytes)}`);
      say(`upstream sent ${share.toFixed(4)} × the blob`);
      say(`wall time ${humanDuration(performance.now() - startedAt)}`);
      const figures = { anonBytes, residentBytes, share };
      report('slow-readers', `## Many slow readers\n\n${circumstances.line}\n\n${told(options, figures)}`);
      promised([
        promiseRow({
          what: `resident memory at ${options.readers} slow readers`,
          unit: ' MB',
          bound: { atMost: MAX_RESIDENT_MB },
          figure: residentBytes / 1e6,
        }),
      ]);
      const failures = [
        ...(anonBytes > MAX_ANON_BYTES ? [`more memory than ${humanBytes(MAX_ANON_BYTES)}`] : []),
        ...(share === 1 ? [] : ['upstream sent more or less than the blob']),
      ];
      for (const failure of failures) say(`FAILED: ${failure}`);
      return failures.length === 0;
    }),
};

interface Figures extends Memory {
  /** What upstream sent, as a multiple of the blob. */
  readonly share: number;
}

function told({ readers, seconds }: SlowReadersOptions, figures: Figures): string {
  const head = [
    'slow readers',
    'anonymous memory at most, MB',
    'resident, MB',
    'sent by upstream, × the blob',
  ];
  const { anonBytes, residentBytes, share } = figures;
  const row = [readers, anonBytes / 1e6, residentBytes / 1e6, share].map(formatNumber);
  return `${readers} clients read one cold blob of 512 MB at 1 MB/s each for ${seconds} s, beside ${FAST_READERS} fast ones that
read it to its end; every byte that came was compared. Upstream is the scripted stand-in.

${table(head, [row])}`;
}

async function readSlowly(
  { hub, server }: Stage,
  { readers, seconds }: SlowReadersOptions,
): Promise<{ readonly slowBytes: number; readonly share: number }> {
  const content = generatedContent({ size: BLOB_BYTES, seed: 3 });
  const slow = image({ message: 'slow', layers: [opaqueLayer(content)] });
  hub.add({ repository: REPOSITORY, tags: ['latest'], image: slow });
  const base = `${server.url}/v2/${REPOSITORY}`;
  // A layer is asked for after the manifest that names it, as any client does.
  await fetchVerified(`${base}/manifests/latest`, slow.root.digest);
  const url = `${base}/blobs/${content.digest}`;
  const leave = new AbortController();
  const { signal } = leave;
  setMaxListeners(0, signal);
  const slowReads = Promise.all(
    Array.from({ length: readers }, () =>
      readBlob({ url, content, signal, bytesPerSecond: SLOW_BYTES_PER_SECOND }),
    ),
  );
  const fastReads = Promise.all(
    Array.from({ length: FAST_READERS }, () => readBlob({ url, content, signal })),
  );
  try {
    await Promise.race([slowReads, Promise.all([fastReads, sleep(seconds * 1000)])]);
  } finally {
    leave.abort();
  }
  const taken = await slowReads;
  await fastReads;
  return {
    slowBytes: taken.reduce((sum, bytes) => sum + bytes, 0),
    share: hub.bytesSent(content.digest) / content.size,
  };
}
