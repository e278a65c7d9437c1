import { closeSync, constants, existsSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { fetchRaw } from '../support/http.ts';
import { makePipe, PIPE_BYTES, readNow } from '../support/pipe.ts';
import { start, startServer, type RunningProcess } from '../support/processes.ts';
import { MAIN } from '../support/program.ts';
import { tempFolder, type TempFolder } from '../support/temp.ts';
import { eventually } from '../support/wait.ts';

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

/** A server whose log goes to `output`, which is a path from the folder on, and its address once it listens there. */
async function startWithLogTo(
  output: string,
  { folder, format }: { folder: TempFolder; format: string },
): Promise<{ server: RunningProcess; url: string }> {
  const listen = `127.0.0.1:${await freePort()}`;
  const flags = `--listen ${listen} --admin-listen off --data-dir data --offline --log-format ${format}`;
  const server = await start({
    program: '/bin/sh',
    args: ['-c', `exec "$0" "$1" serve ${flags} >${output}`, process.execPath, MAIN],
    cwd: folder.path,
  });
  onTestFinished(async () => {
    if (server.status === undefined) await server.kill();
    await folder.remove();
  });
  return { server, url: `http://${listen}` };
}

it.each(['json', 'pretty'])('a disk that has no room for the log stops nothing: %s', async (format) => {
  const { server, url } = await startWithLogTo('/dev/full', { folder: await tempFolder(), format });
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
  makePipe(pipe);
  const [reader, writer] = [constants.O_RDONLY, constants.O_WRONLY].map((mode) =>
    openSync(pipe, mode | constants.O_NONBLOCK),
  ) as [number, number];
  onTestFinished(() => [reader, writer].forEach((fd) => closeSync(fd)));
  const { server } = await startWithLogTo('pipe', { folder, format: 'json' });
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
