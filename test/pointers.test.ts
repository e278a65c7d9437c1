import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;

function filesIn(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`);
}

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const CODE = [...filesIn('src', '.ts'), ...filesIn('test', '.ts')];
/** What the changelog names may be gone. */
const PAGES = [...filesIn('docs', '.md'), 'README.md', 'CONTRIBUTING.md', 'THREATS.md', 'ARCHITECTURE.md'];
const FILE = String.raw`(?<![\w>.])((?:[\w-]+/)*[\w-]+(?:\.[\w-]+)*\.ts)\b`;

const targets = (file: string): string[] => CODE.filter((path) => path === file || path.endsWith(`/${file}`));

/** The files that a text names, such as `mirror/mirror.ts`. */
const named = (text: string): string[] =>
  [...text.matchAll(new RegExp(FILE, 'g'))].map(([, file = '']) => file);

it('Each file of the code that a page names is there', () => {
  const all = PAGES.flatMap((page) =>
    named(read(page).replaceAll(/\]\([^)]*\)/g, '')).map((file) => ({ page, file })),
  );
  expect(all.length).toBeGreaterThan(100);
  expect(all.filter(({ file }) => targets(file).length === 0)).toEqual([]);
});

it('Each file that a comment names is there', () => {
  const all = CODE.flatMap((path) => {
    const comments = read(path).match(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g) ?? [];
    return comments.flatMap(named).map((file) => ({ path, file }));
  });
  expect(all.filter(({ file }) => targets(file).length === 0)).toEqual([]);
});

it('What a page names in a file of the code is in it', () => {
  const pairs = PAGES.flatMap((page) =>
    [...read(page).matchAll(new RegExp(String.raw`\x60([A-Za-z]\w+)\x60 in \x60${FILE}\x60`, 'g'))].map(
      ([, name = '', file = '']) => ({ page, name, file }),
    ),
  );
  expect(pairs.length).toBeGreaterThan(0);
  expect(
    pairs.filter(
      ({ name, file }) => !targets(file).some((path) => new RegExp(String.raw`\b${name}\b`).test(read(path))),
    ),
  ).toEqual([]);
});
