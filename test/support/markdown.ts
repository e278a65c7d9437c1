export interface CodeBlock {
  readonly language: string;
  /** Of its first line, from 1. */
  readonly line: number;
  readonly text: string;
}

const BLOCK = /^ *```(\w*)\n(.*?)\n? *```$/gms;

/** The fenced code of a page. */
export function codeBlocks(page: string): CodeBlock[] {
  return [...page.matchAll(BLOCK)].map(({ index, 1: language = '', 2: text = '' }) => ({
    language,
    line: page.slice(0, index).split('\n').length + 1,
    text,
  }));
}

/** A page without its fenced code. */
export function prose(page: string): string {
  return page.replaceAll(BLOCK, '');
}

/** Where the links of a page lead to, as it says it. */
export function links(page: string): string[] {
  const text = prose(page).replaceAll(/`[^`\n]*`/g, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)/gm)].map(
    ([, inline, reference]) => inline ?? reference ?? '',
  );
}

/** The anchors of the headings of a page, as GitHub makes them. */
export function slugs(page: string): string[] {
  const seen = new Map<string, number>();
  return [...prose(page).matchAll(/^#+ +(.+?) *$/gm)].map(([, heading = '']) => {
    const text = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = text.replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return count === 0 ? slug : `${slug}-${count}`;
  });
}

/** The code in those columns of the tables of a page that have one of these heads. */
export function tableTexts(page: string, heads: readonly string[]): string[] {
  let columns: number[] = [];
  const lines = prose(page).split('\n');
  return lines.flatMap((line, at) => {
    const cells = line.startsWith('|') ? line.split('|').map((cell) => cell.trim()) : [];
    if (!(lines[at - 1] ?? '').startsWith('|')) {
      columns = cells.flatMap((cell, column) => (heads.includes(cell) ? [column] : []));
      return [];
    }
    return columns.flatMap((column) =>
      [...(cells[column] ?? '').matchAll(/`([^`]+)`/g)].map(([, text = '']) => text),
    );
  });
}

/** What lines of `NAME=value` set; a name that comes again begins another environment. */
export function environments(shell: string): Record<string, string>[] {
  const found: Record<string, string>[] = [];
  for (const [, name = '', value = ''] of shell.matchAll(/^(PIERHEAD_\w+)=(.*)$/gm)) {
    const last = found.at(-1);
    if (last === undefined || name in last) found.push({ [name]: value });
    else last[name] = value;
  }
  return found;
}

/** The words of a command line, without its comment. */
export function shellWords(command: string): string[] {
  const words = command.replace(/ +# .*$/, '').match(/(?:'[^']*'|[^\s'])+/g) ?? [];
  return words.map((word) => word.replaceAll("'", ''));
}
