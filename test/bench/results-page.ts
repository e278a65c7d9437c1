import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What the bench writes, in the order of the page; each part is replaced as a whole and by itself. */
const SECTIONS = [
  'goals',
  'peers',
  'releases',
  'method',
  'growth',
  'slow-readers',
  'import',
  'index',
  'varied',
] as const;
export type SectionName = (typeof SECTIONS)[number];

/** Everything from this line on is written by hand and kept. */
const NOTES_MARK = '<!-- notes: kept by the bench -->';

/** `test/bench/RESULTS.md` of the checkout `root`. */
export class ResultsPage {
  readonly path: string;

  constructor(root: string) {
    this.path = join(root, 'test/bench/RESULTS.md');
  }

  /** Puts sections in the place of those of the same names, and leaves the others as they are. */
  async write(sections: ReadonlyMap<SectionName, string>): Promise<void> {
    const before = await readFile(this.path, 'utf8').catch(() => '');
    const all = SECTIONS.map((name) => {
      const markdown = sections.get(name) ?? sectionIn(before, name);
      return markdown === undefined ? '' : `${beginOf(name)}\n\n${markdown.trim()}\n\n${endOf(name)}\n\n`;
    });
    const notes = before.includes(NOTES_MARK) ? before.slice(before.indexOf(NOTES_MARK)) : `${NOTES_MARK}\n`;
    await writeFile(this.path, `# Results of \`npm run bench\`\n\n${all.join('')}${notes}`);
  }
}

function sectionIn(page: string, name: SectionName): string | undefined {
  const [from, to] = [page.indexOf(beginOf(name)), page.indexOf(endOf(name))];
  return from < 0 || to < from ? undefined : page.slice(from + beginOf(name).length, to);
}

function beginOf(name: SectionName): string {
  return `<!-- ${name}: written by the bench -->`;
}

function endOf(name: SectionName): string {
  return `<!-- end of ${name} -->`;
}
