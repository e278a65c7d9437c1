import { join } from 'node:path';
import type { Plugin } from 'vitest/config';

/** Lets tests import the built program where they name `src/`. */
export function builtSource(root: string): Plugin {
  const source = join(root, 'src/');
  return {
    name: 'built-source',
    enforce: 'pre',
    resolveId(target, importer) {
      if (importer === undefined || !target.startsWith('.')) return undefined;
      const path = join(importer, '..', target);
      if (!path.startsWith(source)) return undefined;
      return join(root, 'dist', path.slice(source.length).replace(/\.ts$/, '.js'));
    },
  };
}
