import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { makePipe } from '../support/pipe.ts';
import { testFolder } from '../support/temp.ts';
import { withDeadline } from '../support/wait.ts';

/** A second one, of a file, tells that the first has had its turns. */
const WATCHER = `
  const { WatchedFiles } = await import(process.argv[2]);
  const [pipe, file] = process.argv.slice(3);
  const options = { parse: ([text]) => text, onError: () => process.exit(2) };
  const { value } = new WatchedFiles({ ...options, paths: [pipe], onChange: () => process.exit(3) });
  new WatchedFiles({ ...options, paths: [file], onChange: (text) => process.send(text) });
  process.send(value);
  // Its own timers keep no process alive.
  setInterval(() => undefined, 1000);
`;

it('a pipe in place of a file is read once, and never waited for again', async () => {
  const folder = await testFolder();
  const [script, pipe, file] = ['watcher.mjs', 'pipe', 'file'].map((name) => join(folder, name));
  if (script === undefined || pipe === undefined || file === undefined) throw new Error('no names');
  makePipe(pipe);
  await writeFile(script, WATCHER);
  await writeFile(file, '0');
  const module = new URL('../../dist/lib/files.js', import.meta.url).href;
  const child = fork(script, [module, pipe, file]);
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const said = (label: string) => withDeadline(once(child, 'message'), label);
  const started = said('what the pipe holds');
  await writeFile(pipe, 'secret');
  expect(await started).toEqual(['secret', undefined]);
  for (const turn of ['1', '2', '3']) {
    const heard = said(`turn ${turn}`);
    await writeFile(file, turn);
    expect(await heard).toEqual([turn, undefined]);
  }
  expect(child.exitCode).toBeNull();
});
