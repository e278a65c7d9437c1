import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { fetchRaw } from '../support/http.ts';
import { startServer } from '../support/processes.ts';
import { tempFolder } from '../support/temp.ts';

const MAIN = new URL('../../dist/main.js', import.meta.url).pathname;

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
