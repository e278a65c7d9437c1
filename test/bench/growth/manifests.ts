import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pierhead } from '../contestants.ts';
import { fillIndex, indexedImage, type IndexedImage } from '../index-filling.ts';
import { steadyLoad } from '../load.ts';
import { growthPoint, type Axis, type AxisContext } from './axis.ts';
import { startHub } from './hub.ts';

const WARM_UP_SECONDS = 2;
/** The smallest image that there is: what it names is entered as well, and an index of images of many layers takes minutes. */
const SHAPE = { blobs: 1, blobBytes: 1_000_000 };

/** One index grows from amount to amount. */
export const MANIFESTS: Axis = {
  name: 'manifests',
  noun: 'cached manifests',
  load: 'any manifest by digest, each as likely as the others, 16 connections, after a start: from 100,000 on, nearly all of them come from the index',
  amounts: [100, 1000, 10_000, 100_000, 1_000_000],
  goal: { amount: 1_000_000, perSecondAtLeast: 20_000, p99MsAtMost: 10 },
  async measure(context, amounts) {
    const hub = await startHub();
    try {
      let filled = 0;
      for (const amount of amounts) {
        const images = numbered(filled, amount, Date.now());
        await fillIndex({ root: context.root, dataDir: dataDirOf(context), images, withBlobs: false });
        filled = amount;
        await measureOne(context, amount, hub.url);
      }
    } finally {
      await hub.close();
    }
  },
};

function dataDirOf({ folder }: AxisContext): string {
  return join(folder, 'data');
}

function* numbered(from: number, to: number, usedAt: number): Generator<IndexedImage> {
  for (let number = from; number < to; number++) yield indexedImage(number, { ...SHAPE, usedAt });
}

async function measureOne(context: AxisContext, amount: number, upstreamUrl: string): Promise<void> {
  const { root, node, folder, seconds, onPoint } = context;
  const pathsFile = join(folder, 'paths');
  await pipeline(paths(amount), createWriteStream(pathsFile));
  const server = await pierhead({ root, node }).start({ upstreamUrl, folder });
  try {
    const summaryScript = join(root, 'test/bench/random-paths.lua');
    const load = { url: server.url, connections: 16, summaryScript, pathsFile };
    await steadyLoad({ ...load, seconds: WARM_UP_SECONDS });
    onPoint(growthPoint(amount, await steadyLoad({ ...load, seconds })));
  } finally {
    await server.stop();
  }
}

function* paths(amount: number): Generator<string> {
  for (const { repository, digest } of numbered(0, amount, 0)) {
    yield `/v2/${repository}/manifests/${digest}\n`;
  }
}
