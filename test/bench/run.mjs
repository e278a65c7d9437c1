/**
 * `npm run bench -- --help`. Compiles the bench (Node 20 cannot run TypeScript) and runs it; the build of Pierhead
 * itself is the script's business in package.json.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { join } from 'node:path';

const root = fileURLToPath(new URL('../..', import.meta.url));
const outDir = join(root, 'node_modules/.cache/pierhead-bench');
const tsc = join(root, 'node_modules/typescript/bin/tsc');

execFileSync(process.execPath, [tsc, '-p', join(root, 'test/bench/tsconfig.json'), '--outDir', outDir], {
  stdio: 'inherit',
});
const { main } = await import(pathToFileURL(join(outDir, 'test/bench/main.js')).href);
process.exitCode = await main(process.argv.slice(2), root);
