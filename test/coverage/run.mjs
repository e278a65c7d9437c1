/**
 * `npm run coverage [-- <paths of tests>]`. Runs tests on the built program, whose modules have the same URLs in the
 * tests as in the processes that these start; Node writes for each what has run (NODE_V8_COVERAGE). Prints the lines
 * of `src/` that nothing has run, file by file.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { lineRanges, ReachedText } from './reached-text.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FOLD_MS = 5000;
/** So old that it is written to its end. */
const WHOLE_MS = 5000;

const folder = mkdtempSync(join(tmpdir(), 'pierhead-coverage-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const dumps = join(folder, 'dumps');
mkdirSync(dumps);
// Some tests run the program as a user with no rights.
chmodSync(folder, 0o711);
chmodSync(dumps, 0o1777);
const reached = new ReachedText(pathToFileURL(join(ROOT, 'dist/')).href);

/** A run writes some GB: each dump is added up and removed while tests run. */
function fold(minAgeMs) {
  for (const name of readdirSync(dumps)) {
    const path = join(dumps, name);
    if (Date.now() - statSync(path).mtimeMs < minAgeMs) continue;
    const text = readFileSync(path, 'utf8');
    rmSync(path);
    // A process that was killed while it wrote has left a part.
    if (text.endsWith('}')) reached.add(JSON.parse(text));
  }
}

function report() {
  const built = join(folder, 'built');
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  // The same text as in dist/, and where each line comes from.
  const options = ['--outDir', built, '--sourceMap', '--incremental', 'false', '--tsBuildInfoFile', 'null'];
  execFileSync(process.execPath, [tsc, '-p', ROOT, ...options], { stdio: 'inherit' });
  let code = 0;
  let missed = 0;
  for (const file of readdirSync(join(ROOT, 'src'), { recursive: true }).sort()) {
    const name = file.replace(/\.ts$/, '.js');
    if (!/\.[jt]s$/.test(file)) continue;
    const text = readFileSync(join(built, name), 'utf8');
    const map = JSON.parse(readFileSync(join(built, `${name}.map`), 'utf8'));
    const lines = reached.lines(name, { text, map });
    code += lines.code;
    missed += lines.missed.length;
    if (lines.missed.length > 0)
      print(`src/${file}`, lines.code, lines.missed.length, lineRanges(lines.missed));
  }
  print('all', code, missed, '');
}

function print(name, code, missed, lines) {
  const share = `${Math.floor((100 * (code - missed)) / Math.max(code, 1))} %`;
  process.stdout.write(`${name.padEnd(42)} ${share.padStart(5)}  ${lines}\n`);
}

const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
const words = ['run', '--config', join(ROOT, 'test/vitest.config.ts'), ...process.argv.slice(2)];
const child = spawn(process.execPath, [vitest, ...words], {
  cwd: ROOT,
  env: { ...process.env, NODE_V8_COVERAGE: dumps },
  stdio: 'inherit',
});
const folding = setInterval(() => fold(WHOLE_MS), FOLD_MS);
const [status] = await once(child, 'exit');
clearInterval(folding);
fold(0);
report();
process.exitCode = status ?? 1;
