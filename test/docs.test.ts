import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createProgram } from '../src/program.ts';
import { loadSettings } from '../src/config/load.ts';
import { SETTINGS } from '../src/config/schema.ts';
import { codeBlocks, environments, links, prose, shellWords, slugs, tableTexts } from './support/markdown.ts';
import { fileFor } from './support/needed-settings.ts';

const ROOT = new URL('..', import.meta.url).pathname;
const NOT_OURS = new Set(['node_modules', 'dist', 'data', '.git']);
const MAX_BYTES = 8000;
const MAX_DESIGN_BYTES = 6000;
/** The first line of a settings file on a page. */
const SETTINGS_MARK = '# pierhead.yaml';
/** What only a settings file holds at its top. */
const SETTINGS_KEYS = new Set([...Object.keys(SETTINGS), 'upstreams', 'clients', 'accounts']);

function filesIn(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return NOT_OURS.has(entry.name) ? [] : filesIn(path, ending);
    return entry.isFile() && entry.name.endsWith(ending) ? [path] : [];
  });
}

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

const PAGES = filesIn('', '.md').sort();
const GUIDES = PAGES.filter((page) => page.startsWith('docs/guides/'));
/** What tells users how things are; the changelog tells how they were. */
const MANUAL = PAGES.filter((page) => page === 'README.md' || page.startsWith('docs/'));
const BLOCKS = MANUAL.flatMap((page) => codeBlocks(read(page)).map((block) => ({ page, ...block })));
const YAML = BLOCKS.filter(({ language }) => language === 'yaml');

it('There are pages, guides and examples to look at', () => {
  expect(PAGES).toEqual(expect.arrayContaining(['README.md', 'CONTRIBUTING.md', 'docs/README.md']));
  expect(GUIDES.length).toBeGreaterThan(12);
  expect(YAML.length).toBeGreaterThan(10);
});

describe('A link', () => {
  const all = PAGES.flatMap((page) => links(read(page)).map((target) => ({ page, target })));
  const local = all.filter(({ target }) => !/^[a-z]+:/.test(target));

  it.each(local)('of $page leads somewhere: $target', ({ page, target }) => {
    const [path = '', anchor] = target.split('#', 2);
    const file = path === '' ? page : relative(ROOT, join(ROOT, dirname(page), decodeURI(path)));
    expect(file).not.toMatch(/^\.\./);
    expect(existsSync(join(ROOT, file)), file).toBe(true);
    if (anchor !== undefined) expect(slugs(read(file))).toContain(anchor);
  });

  it('of docs/README.md leads to each page in docs', () => {
    const listed = links(read('docs/README.md')).map((target) => join('docs', target));
    const pages = PAGES.filter((page) => /^docs\/(?:guides|reference)\//.test(page));
    expect(listed).toEqual(expect.arrayContaining(pages));
  });
});

it.each(['README.md', ...GUIDES])('%s has 8 kB at most', (page) => {
  expect(statSync(join(ROOT, page)).size).toBeLessThanOrEqual(MAX_BYTES);
});

it.each(PAGES.filter((page) => page.startsWith('docs/design/')))('%s is a page, and no book', (page) => {
  expect(statSync(join(ROOT, page)).size).toBeLessThanOrEqual(MAX_DESIGN_BYTES);
});

describe('An example of settings', () => {
  const load = (env: Readonly<Record<string, string>>, yaml?: string) =>
    loadSettings({
      flags: yaml === undefined ? {} : { config: 'pierhead.yaml' },
      env,
      cwd: '/srv',
      readFile: (path) => (path === '/srv/pierhead.yaml' ? (yaml ?? '') : fileFor(path)),
    });

  it.each(YAML.filter(({ text }) => text.startsWith(SETTINGS_MARK)))('of $page:$line is one', ({ text }) => {
    const { sources } = load({}, text);
    expect(sources.some(({ source }) => source.kind === 'file')).toBe(true);
  });

  it.each(YAML.filter(({ text }) => !text.startsWith(SETTINGS_MARK)))(
    'is marked as one: $page:$line is YAML of another program',
    ({ text }) => {
      const keys = Object.keys((parse(text) ?? {}) as object);
      expect(keys.filter((key) => SETTINGS_KEYS.has(key))).toEqual([]);
    },
  );

  it.each(
    BLOCKS.filter(({ language }) => language === 'sh').flatMap(({ page, line, text }) =>
      environments(text).map((env) => ({ page, line, env })),
    ),
  )('in the environment, of $page:$line, is one', ({ env }) => {
    const { sources, warnings } = load(env);
    expect(warnings).toEqual([]);
    const found = sources.flatMap(({ source }) => (source.kind === 'env' ? [source.name] : []));
    // A variable that names a file sets two keys.
    expect([...new Set(found)].sort()).toEqual(Object.keys(env).sort());
  });

  it.each(BLOCKS.filter(({ language }) => language === 'json'))(
    'in JSON, of $page:$line, is JSON',
    (block) => {
      expect(JSON.parse(block.text)).toBeTypeOf('object');
    },
  );
});

describe('A command', () => {
  /** Commander's own judgement of a command line, which runs nothing. */
  async function parseCommand(words: readonly string[]): Promise<void> {
    const program = createProgram(() => undefined);
    for (const command of [program, ...program.commands]) {
      command.configureOutput({ writeErr: () => undefined }).action(() => undefined);
    }
    await program.parseAsync([...words], { from: 'user' });
  }

  const lines = BLOCKS.filter(({ language }) => language === 'sh').flatMap(({ page, text }) =>
    text
      .split('\n')
      .map((command) => /^(?:pierhead|node dist\/main\.js) (.+)$/.exec(command)?.[1])
      .filter((command) => command !== undefined)
      .map((command) => ({ page, command })),
  );

  it('stands on the pages', () => {
    expect(lines.length).toBeGreaterThan(20);
  });

  it.each(lines)('of $page is one: pierhead $command', async ({ command }) => {
    await parseCommand(shellWords(command));
  });

  it.each(['lokc', 'lock --sinc 24h', 'lock --since', 'lock golang', 'pin'])(
    'that is none is refused: pierhead %s',
    async (command) => {
      await expect(parseCommand(shellWords(command))).rejects.toThrow();
    },
  );

  it.each(MANUAL)('in the text of %s has a name and flags that there are', (page) => {
    const { commands } = createProgram(() => undefined);
    for (const [, name = '', rest = ''] of read(page).matchAll(/`pierhead ([a-z]+)((?: [^`]*)?)`/g)) {
      const command = commands.find((each) => each.name() === name);
      expect(command, name).toBeDefined();
      const known = command?.options.flatMap(({ long, short }) => [long, short]);
      for (const [flag] of rest.matchAll(/(?<= )--?[a-z][a-z-]*/g)) expect(known).toContain(flag);
    }
  });
});

describe('A message', () => {
  const source = filesIn('src', '.ts').map(read).join('\n');
  /** What stands on a page where the program has a value. */
  const VALUE =
    /…|docker\.io|golang:1\.22|linux\/\w+|\(\d+\)|5000|9\.5|20\.19|\(setting \w+\)|Host|the data directory/;
  const messages = ['docs/guides/troubleshooting.md', 'docs/guides/monitoring.md'].flatMap((page) =>
    tableTexts(read(page), ['message', 'reason']).map((message) => ({ page, message })),
  );

  it('stands on the pages', () => {
    expect(messages.length).toBeGreaterThan(40);
  });

  it.each(messages)('of $page is in the source: $message', ({ message }) => {
    const parts = message.split(VALUE).map((part) => part.trim());
    expect(parts.filter((part) => !source.includes(part))).toEqual([]);
  });
});

describe('The text of a page', () => {
  it.each(MANUAL)('says pierhead for the program, not where it lies: %s', (page) => {
    const told = prose(read(page)).replaceAll(/`docker exec [^`]*`/g, '');
    const where = told.split('\n').filter((line) => line.includes('dist/main.js'));
    // Once at most, where it is said what it stands for.
    expect(where.length).toBeLessThanOrEqual(1);
  });
});
