import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { attempt, type Outcome } from '../support/commands.ts';
import { filledHub } from '../support/filled-hub.ts';
import { MAIN } from '../support/program.ts';
import { testFolder } from '../support/temp.ts';

/** On a busy machine a command takes seconds. */
const COMMANDS_MS = 120_000;

/** A folder to work in, and how to run commands on a data directory in it. */
async function workplace(dataDir: 'missing' | 'empty' | 'of a new disk' | 'of others') {
  const folder = await testFolder();
  const path = join(folder, 'below', 'data');
  if (dataDir !== 'missing') await mkdir(path, { recursive: true });
  if (dataDir === 'of a new disk') await mkdir(join(path, 'lost+found'));
  if (dataDir === 'of others') await writeFile(join(path, 'notes.txt'), 'not ours');
  const hub = await filledHub();
  const pierhead = (...args: string[]): Promise<Outcome> => {
    const settings = ['--data-dir', path, '--upstream', hub.url];
    return attempt({ program: process.execPath, args: [MAIN, ...args, ...settings], cwd: folder });
  };
  return { folder, dataDir: path, pierhead };
}

describe('in a data directory that is not there, or empty', { timeout: COMMANDS_MS }, () => {
  it.each(['missing', 'empty', 'of a new disk'] as const)('(%s) images are warmed', async (state) => {
    const { pierhead } = await workplace(state);
    expect(await pierhead('warm', 'plain')).toMatchObject({ status: 0 });
    expect((await pierhead('images')).stdout.toString()).toContain('plain:latest');
  });

  it('a bundle is imported', async () => {
    const site = await workplace('missing');
    const bundle = join(site.folder, 'images.tar');
    await site.pierhead('warm', 'plain');
    expect(await site.pierhead('export', '-o', bundle)).toMatchObject({ status: 0 });
    const other = await workplace('missing');
    expect(await other.pierhead('import', bundle)).toMatchObject({ status: 0 });
    expect((await other.pierhead('images')).stdout.toString()).toContain('plain:latest');
  });

  it.each([
    [['resolve', 'plain'], 0, 'plain:latest'],
    [['check', '--warm', 'plain'], 0, '1 image: all could be pulled'],
    [['unpin', 'plain'], 0, 'was not pinned'],
    [['rm', 'plain'], 1, 'is not cached'],
  ] as const)('%j does what it does where there is another image', async (command, status, text) => {
    const { pierhead, dataDir } = await workplace('missing');
    const outcome = await pierhead(...command);
    expect(outcome.status).toBe(status);
    expect(outcome.stdout.toString() + outcome.stderr).toContain(text);
    expect(existsSync(join(dataDir, 'version'))).toBe(true);
  });

  it.each([
    [['images'], 'no image is cached\n'],
    [['images', '--json'], '[]\n'],
    [['lock'], 'images: []\n'],
    [['export', '-o', '-'], ''],
    [['index', '-o', '-'], ''],
    [['verify'], 'all sound\n'],
  ] as const)('%j says that it is empty, and exits 0', async (command, end) => {
    const { pierhead, dataDir } = await workplace('missing');
    const outcome = await pierhead(...command);
    expect(outcome.status).toBe(0);
    expect(outcome.stderr).toContain(`pierhead: the data directory ${dataDir} is empty\n`);
    expect(outcome.stdout.toString().endsWith(end)).toBe(true);
    // A misspelt folder is not made by a command that only reads; to verify is to take it.
    expect(existsSync(dataDir)).toBe(command[0] === 'verify');
  });

  it('nothing is ready, and a named image is not exported: both fail', async () => {
    const { pierhead, folder, dataDir } = await workplace('missing');
    const checked = await pierhead('check', 'plain');
    expect(checked.status).toBe(1);
    expect(checked.stdout.toString()).toContain('0 of 1 image');
    const exported = await pierhead('export', 'plain', '-o', join(folder, 'images.tar'));
    expect(exported).toMatchObject({ status: 1 });
    expect(exported.stderr).toContain('nothing exported: 1 image missing\n');
    expect(await readdir(folder)).toEqual([]);
    expect(existsSync(dataDir)).toBe(false);
  });

  it('an export of all that is kept writes nothing and does not fail, once a command has made it', async () => {
    const { pierhead, folder } = await workplace('missing');
    await pierhead('verify');
    expect(await pierhead('export', '-o', join(folder, 'images.tar'))).toMatchObject({ status: 0 });
    expect(await readdir(folder)).toEqual(['below']);
  });
});

describe('a folder that holds files of others', { timeout: COMMANDS_MS }, () => {
  it.each([[['images']], [['check', 'plain']], [['verify']], [['warm', 'plain']]])(
    'is refused by %j, and nothing is made there',
    async (command) => {
      const { pierhead, dataDir } = await workplace('of others');
      const outcome = await pierhead(...command);
      expect(outcome.status).toBe(2);
      expect(outcome.stderr).toBe(
        `pierhead: ${dataDir} is not a Pierhead data directory; set another --data-dir\n`,
      );
      expect(await readdir(dataDir)).toEqual(['notes.txt']);
      expect(await readFile(join(dataDir, 'notes.txt'), 'utf8')).toBe('not ours');
    },
  );
});
