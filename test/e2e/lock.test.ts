import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { parseImageList } from '../../src/image-files/list.ts';
import { formatListedImage } from '../../src/oci/image-name.ts';
import { image } from '../fixtures/images.ts';
import { runCommand } from '../support/command.ts';
import { startContainerd } from '../support/containerd.ts';
import { startDockerd } from '../support/dockerd.ts';
import { filledHub, GOLANG, PLAIN } from '../support/filled-hub.ts';
import { startPierhead, type Pierhead } from '../support/pierhead.ts';
import { testFolder } from '../support/temp.ts';

const OTHER = image({ message: 'other' });

async function dockerd(mirror: Pierhead) {
  const engine = await startDockerd({ mirror: mirror.host });
  onTestFinished(() => engine.close());
  return engine;
}

async function containerd(mirror: Pierhead) {
  const client = await startContainerd({ mirror: mirror.host });
  onTestFinished(() => client.close());
  return client;
}

it('what clients pulled at one site is locked, and pulled from another one whose upstream is gone', async () => {
  const hub = await filledHub();
  hub.add({ repository: 'library/other', tags: ['latest'], image: OTHER });
  const folder = await testFolder();
  const site = async (name: string) => {
    const dataDir = join(folder, name);
    const pierhead = await startPierhead({ upstreamUrl: hub.url, dataDir });
    onTestFinished(() => pierhead.close());
    const run = (...args: string[]) => runCommand(args, { dataDir, upstreamUrl: hub.url });
    return { pierhead, run };
  };
  const a = await site('a');
  const engine = await dockerd(a.pierhead);
  await engine.docker('pull', 'golang:1.22');
  await engine.docker('pull', 'plain');
  const arm = await containerd(a.pierhead);
  await arm.pull('docker.io/library/golang:latest', '--platform', 'linux/arm64');

  const lock = join(folder, 'images.lock');
  expect((await a.run('lock', '--since', '1h', '-o', lock)).status).toBe(0);
  const list = GOLANG.image.root.digest;
  // Both tags name one list, and so what was taken of either is needed of both.
  expect(parseImageList(lock, await readFile(lock, 'utf8')).map(formatListedImage)).toEqual([
    `golang:1.22@${list} linux/amd64,linux/arm64`,
    `golang:latest@${list} linux/amd64,linux/arm64`,
    `plain:latest@${PLAIN.image.root.digest}`,
  ]);

  const b = await site('b');
  expect((await b.run('check', lock)).status).toBe(1);
  expect(await b.run('warm', '-f', lock)).toMatchObject({ status: 0 });
  expect((await b.run('check', lock)).status).toBe(0);
  await hub.stop();
  const later = await dockerd(b.pierhead);
  await later.docker('pull', 'golang:1.22');
  await later.docker('pull', `golang@${list}`);
  expect(await later.docker('run', '--rm', '--network', 'none', 'golang:1.22')).toBe('linux/amd64');
  await (await containerd(b.pierhead)).pull('docker.io/library/golang:latest', '--platform', 'linux/arm64');
  expect((await later.attempt('pull', 'other')).status).not.toBe(0);
});
