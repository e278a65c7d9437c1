import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { fetchRaw } from '../support/http.ts';
import { start, startServer } from '../support/processes.ts';
import { tempFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

const MAIN = new URL('../../dist/main.js', import.meta.url).pathname;
/** Of Linux. */
const PIPE_BYTES = 64 * 1024;

it('the log for people has one line for each event too', async () => {
  const folder = await tempFolder();
  const free = ['--listen', '127.0.0.1:0', '--admin-listen', 'off', '--data-dir', join(folder.path, 'data')];
  const [server, url] = await startServer({
    program: process.execPath,
    args: [MAIN, 'serve', ...free, '--offline', '--log-format', 'pretty'],
    env: {},
    cwd: folder.path,
    ready: ({ stdout }) => /http:\/\/127\.0\.0\.1:\d+/.exec(stdout)?.[0],
    readyLabel: 'line that says it is ready',
    folder,
  });
  onTestFinished(async () => {
    if (server.status === undefined) await server.stop();
    await folder.remove();
  });
  await fetchRaw(`${url}/v2/library/golang/manifests/latest`);
  expect(await server.stop()).toBe(0);
  const lines = server.stdout.trimEnd().split('\n');
  expect(lines.map((line) => /\b(ready|request|stopping|stopped)\b/.exec(line)?.[1])).toEqual([
    'ready',
    'request',
    'stopping',
    'stopped',
  ]);
  for (const text of ['127.0.0.1', 'GET', 'library/golang', 'latest', '503', 'durationMs', 'miss']) {
    expect(lines[1]).toContain(text);
  }
});

it.each(['json', 'pretty'])('a disk that has no room for the log stops nothing: %s', async (format) => {
  const folder = await tempFolder();
  const url = `http://127.0.0.1:${await freePort()}`;
  const flags = `--listen ${url.slice('http://'.length)} --admin-listen off --data-dir data --offline`;
  const server = await start({
    program: '/bin/sh',
    args: ['-c', `exec "$0" "$1" serve ${flags} --log-format ${format} >/dev/full`, process.execPath, MAIN],
    cwd: folder.path,
  });
  onTestFinished(async () => {
    if (server.status === undefined) await server.kill();
    await folder.remove();
  });
  const answer = await eventually(
    () =>
      fetchRaw(`${url}/v2/`).catch((error: unknown) => {
        if (server.status !== undefined) throw error;
        return undefined;
      }),
    'an answer',
  );
  expect(answer.status).toBe(200);
  expect((await fetchRaw(`${url}/v2/library/golang/manifests/latest`)).status).toBe(503);
  expect(await server.stop()).toBe(0);
  expect(server.stderr).toBe('');
});

it('the last lines are there although the pipe was full when they came', async () => {
  const folder = await tempFolder();
  const pipe = join(folder.path, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const [reader, writer] = [constants.O_RDONLY, constants.O_WRONLY].map((mode) =>
    openSync(pipe, mode | constants.O_NONBLOCK),
  ) as [number, number];
  const url = `http://127.0.0.1:${await freePort()}`;
  const flags = `--listen ${url.slice('http://'.length)} --admin-listen off --data-dir data --offline`;
  const args = ['-c', `exec "$0" "$1" serve ${flags} >pipe`, process.execPath, MAIN];
  const server = await start({ program: '/bin/sh', args, cwd: folder.path });
  onTestFinished(async () => {
    if (server.status === undefined) await server.kill();
    for (const fd of [reader, writer]) closeSync(fd);
    await folder.remove();
  });
  await eventually(() => readNow(reader).includes('"msg":"ready"'), 'the line that says it is ready');
  // For `stopping`, and for no more.
  const filling = 'x'.repeat(PIPE_BYTES - 100);
  expect(writeSync(writer, filling)).toBe(filling.length);
  const stopped = server.stop();
  const socket = join(folder.path, 'data/control.sock');
  await eventually(() => server.status !== undefined || !existsSync(socket), 'the server to have stopped');
  let text = readNow(reader);
  expect(await stopped).toBe(0);
  text += readNow(reader);
  const lines = text.slice(filling.length).trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['stopping', 'stopped']);
});

/** What is in the pipe. */
function readNow(fd: number): string {
  const buffer = Buffer.alloc(2 * PIPE_BYTES);
  try {
    return buffer.toString('latin1', 0, readSync(fd, buffer));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return '';
    throw error;
  }
}
