import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, visit, type Document } from 'yaml';
import { ListError } from './needed.ts';

/** Maps that are merged into maps that are merged: nobody goes deeper. */
const MAX_MERGES = 8;
/**
 * Aliases of aliases make a few lines stand for billions. A file without any is looked at some three times, each node
 * being two characters at least; what is shared by aliases has this much besides.
 */
const STEPS_PER_CHARACTER = 4;
const STEPS_FOR_ALIASES = 1_000_000;

/** The documents of a file that the user calls `path`, without the empty ones. Throws ListError, and so do they. */
export function parseYaml(path: string, text: string): YamlNode[] {
  const lines = new LineCounter();
  const file = { path, lines, stepsLeft: STEPS_PER_CHARACTER * text.length + STEPS_FOR_ALIASES };
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  return [...documents].flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const { line } = lines.linePos(error.pos[0]);
      throw new ListError(`${path}:${line}: this is not valid YAML: ${error.message}`);
    }
    const node = new YamlNode(new Tree(file, document), document.contents);
    return isMap(document.contents) || node.items.length > 0 ? [node] : [];
  });
}

/** What each alias stands for: the last node before it with its anchor. Asked one by one, each would search them all. */
function aliasesOf(document: Document): ReadonlyMap<unknown, unknown> {
  const anchors = new Map<string, unknown>();
  const aliases = new Map<unknown, unknown>();
  visit(document, {
    Value: (_, node) => {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
    Alias: (_, alias) => {
      aliases.set(alias, anchors.get(alias.source));
    },
  });
  return aliases;
}

interface File {
  readonly path: string;
  readonly lines: LineCounter;
  stepsLeft: number;
}

/** What all nodes of a document share. */
class Tree {
  readonly #file: File;
  readonly #aliases: ReadonlyMap<unknown, unknown>;
  readonly #entries = new Map<unknown, ReadonlyMap<string, YamlNode>>();

  constructor(file: File, document: Document) {
    this.#file = file;
    this.#aliases = aliasesOf(document);
  }

  get lines(): LineCounter {
    return this.#file.lines;
  }

  /** What `node` stands for. */
  resolved(node: unknown): unknown {
    return isAlias(node) ? this.#aliases.get(node) : node;
  }

  /** Throws ListError if the file is one that never ends. */
  spend(steps: number): void {
    this.#file.stepsLeft -= steps;
    if (this.#file.stepsLeft < 0) {
      throw new ListError(`${this.#file.path} says far more by its aliases than it has characters`);
    }
  }

  /** Those of a map, which are found once for all aliases of it. */
  entriesOf(map: unknown, find: () => ReadonlyMap<string, YamlNode>): ReadonlyMap<string, YamlNode> {
    const entries = this.#entries.get(map) ?? find();
    this.#entries.set(map, entries);
    return entries;
  }
}

/** A place in a YAML document: aliases are followed, merge keys looked into, texts given as they are spelt. */
export class YamlNode {
  readonly #tree: Tree;
  readonly #node: unknown;
  readonly #offset: number;

  constructor(tree: Tree, node: unknown, offset = offsetOf(node) ?? 0) {
    this.#tree = tree;
    this.#node = tree.resolved(node);
    this.#offset = offset;
  }

  get line(): number {
    return this.#tree.lines.linePos(this.#offset).line;
  }

  /** The same for all aliases of a place, so that whoever walks goes nowhere twice. */
  get identity(): unknown {
    return this.#node;
  }

  /** Undefined: it is no text, or nothing. */
  get text(): string | undefined {
    return isScalar(this.#node) && this.#node.value !== null ? this.#node.source : undefined;
  }

  /** What a list holds; empty if it is none. */
  get items(): readonly YamlNode[] {
    if (!isSeq(this.#node)) return [];
    this.#tree.spend(this.#node.items.length);
    return this.#node.items.map((item) => new YamlNode(this.#tree, item));
  }

  /** The entries of a map, those merged into it included; empty if it is none. */
  get entries(): readonly (readonly [key: string, value: YamlNode])[] {
    return [...this.#entries()];
  }

  /** What a list or a map holds; empty if it is neither. */
  get values(): readonly YamlNode[] {
    return [...this.items, ...this.entries.map(([, value]) => value)];
  }

  get(key: string): YamlNode | undefined {
    return this.#entries().get(key);
  }

  /** What lies at the end of a path of keys. */
  at(...keys: readonly string[]): YamlNode | undefined {
    return keys.reduce<YamlNode | undefined>((node, key) => node?.get(key), this);
  }

  #entries(): ReadonlyMap<string, YamlNode> {
    return this.#tree.entriesOf(this.#node, () => this.#merged(MAX_MERGES, new Set()));
  }

  /**
   * Own entries overrule merged ones, and of those the first does (yaml.org/type/merge.html). So a map that is merged again
   * adds nothing; without `seen`, few lines could make it be merged a billion times.
   */
  #merged(depth: number, seen: Set<unknown>): Map<string, YamlNode> {
    const entries = new Map<string, YamlNode>();
    if (!isMap(this.#node) || depth === 0 || seen.has(this.#node)) return entries;
    seen.add(this.#node);
    const merges: YamlNode[] = [];
    this.#tree.spend(this.#node.items.length);
    for (const { key, value } of this.#node.items) {
      const name = isScalar(key) ? (key.source ?? '') : '';
      const node = new YamlNode(this.#tree, value, offsetOf(key));
      if (name === '<<') merges.push(...(isSeq(node.#node) ? node.items : [node]));
      else entries.set(name, node);
    }
    for (const merge of merges) {
      const merged = merge.#merged(depth - 1, seen);
      this.#tree.spend(merged.size);
      for (const [name, node] of merged) if (!entries.has(name)) entries.set(name, node);
    }
    return entries;
  }
}

function offsetOf(node: unknown): number | undefined {
  const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
  return Array.isArray(range) ? Number(range[0]) : undefined;
}
