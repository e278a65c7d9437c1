import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, visit, type Document } from 'yaml';
import { ListError } from './needed.ts';

/** Deepest nesting of merged maps. */
const MAX_MERGES = 8;
/**
 * Aliases of aliases expand a few lines to billions of nodes. Without aliases, a file is read some three times, and a node
 * has two characters at least.
 */
const STEPS_PER_CHARACTER = 4;
const STEPS_FOR_ALIASES = 1_000_000;

/** The documents of a file, without empty ones. `path` is for messages. Throws ListError, and so do the nodes. */
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

/** The node of each alias: the last one before it with its anchor. `alias.resolve()` would walk the document each time. */
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

/** State of one document, for all its nodes. */
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

  /** Follows an alias. */
  resolved(node: unknown): unknown {
    return isAlias(node) ? this.#aliases.get(node) : node;
  }

  /** Throws ListError if the aliases of the file expand too far. */
  spend(steps: number): void {
    this.#file.stepsLeft -= steps;
    if (this.#file.stepsLeft < 0) {
      throw new ListError(`${this.#file.path}: its YAML aliases expand to too many nodes`);
    }
  }

  /** The entries of a map, computed once for all its aliases. */
  entriesOf(map: unknown, find: () => ReadonlyMap<string, YamlNode>): ReadonlyMap<string, YamlNode> {
    const entries = this.#entries.get(map) ?? find();
    this.#entries.set(map, entries);
    return entries;
  }
}

/** A node of a YAML document, with aliases followed and merge keys applied. */
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

  /** The same for all aliases of a node, so that a walk can skip nodes that it has visited. */
  get identity(): unknown {
    return this.#node;
  }

  /** The source text, such as `1.20`; undefined: not a scalar, or null. */
  get text(): string | undefined {
    return isScalar(this.#node) && this.#node.value !== null ? this.#node.source : undefined;
  }

  /** The items of a list; empty for other nodes. */
  get items(): readonly YamlNode[] {
    if (!isSeq(this.#node)) return [];
    this.#tree.spend(this.#node.items.length);
    return this.#node.items.map((item) => new YamlNode(this.#tree, item));
  }

  /** The entries of a map, with merged ones; empty for other nodes. */
  get entries(): readonly (readonly [key: string, value: YamlNode])[] {
    return [...this.#entries()];
  }

  /** The items of a list, or the values of a map; empty for other nodes. */
  get values(): readonly YamlNode[] {
    return [...this.items, ...this.entries.map(([, value]) => value)];
  }

  get(key: string): YamlNode | undefined {
    return this.#entries().get(key);
  }

  /** The node at a path of keys. */
  at(...keys: readonly string[]): YamlNode | undefined {
    return keys.reduce<YamlNode | undefined>((node, key) => node?.get(key), this);
  }

  #entries(): ReadonlyMap<string, YamlNode> {
    return this.#tree.entriesOf(this.#node, () => this.#merged(MAX_MERGES, new Set()));
  }

  /**
   * Own entries win over merged ones, and earlier merges over later ones (yaml.org/type/merge.html). So a map that is merged
   * twice adds nothing. Without `seen`, a few lines could merge a map a billion times.
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
