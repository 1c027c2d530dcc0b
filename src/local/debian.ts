import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AptSource } from './apt-sources.ts';
import { archiveSources, formatSources, machineSources, withSuite } from './apt-sources.ts';
import { cacheFolder, cacheSubfolder } from './cache-folder.ts';
import { LocalError } from './local-error.ts';
import { lastLine, run, type RunResult, which } from './run.ts';

/** A Debian package's files, unpacked in the user's cache directory. */
export interface DebianPackage {
  /** The folder that stands for `/`: a program is at `<root>/usr/bin/<name>`. */
  root: string;
  name: string;
  version: string;
}

/** Which package, from where, and with what else. */
export interface DebianFetch {
  /** The package; `{depends: 'x'}` stands for the package that the meta-package x depends on. */
  name: string | { depends: string };
  /** A suite other than the machine's own, from the same archives with the same keys; `sid` say. */
  suite?: string;
  /** Library packages to unpack into the same folder, with all others that the machine lacks for it. */
  libraries?: readonly string[];
  env?: NodeJS.ProcessEnv;
}

/** Packages (names as a whole) that an earlier fetch left in the cache, the newest version first. */
export async function cachedDebian(
  name: RegExp,
  env?: NodeJS.ProcessEnv,
): Promise<DebianPackage[]> {
  const parent = join(cacheFolder(env), 'debian');
  const folders = await readdir(parent).catch(() => []);
  return folders
    .map((folder) => packageIn(parent, folder))
    .filter((found) => name.exec(found.name)?.[0] === found.name)
    .sort((a, b) => b.version.localeCompare(a.version, 'en', { numeric: true }));
}

/**
 * Fetches a package's files without root: a private apt directory is made from the machine's own
 * sources, configuration and keys, so that proxies and mirrors are the machine's and nothing unsigned
 * is taken. Two processes may do it at once: both unpack apart, and the first to finish is kept.
 * @throws LocalError `ERR_LOCAL_FETCH` with apt's own reason.
 */
export async function fetchDebian(options: DebianFetch): Promise<DebianPackage> {
  for (const tool of ['apt-get', 'apt-cache', 'dpkg-deb']) {
    if ((await which(tool)) === undefined) {
      throw new LocalError(
        'ERR_LOCAL_FETCH',
        `${tool} is not on this machine, so Debian's packages cannot be fetched.`,
      );
    }
  }
  const sources = await chosenSources(options.suite);
  const parent = await cacheSubfolder('debian', options.env);
  const work = await mkdtemp(join(parent, '.fetch-'));
  try {
    const apt = await privateApt(work, sources);
    const updated = await apt('apt-get', 'update');
    const name =
      typeof options.name === 'string' ? options.name : await dependency(apt, options.name.depends);
    const names = new Set([name, ...(options.libraries ?? [])]);
    if (options.libraries) for (const library of await missing(apt, name)) names.add(library);
    const downloaded = await apt('apt-get', 'download', ...names);
    if (downloaded.code !== 0) {
      // apt-get update fails when one of several archives has no such suite; only this counts.
      const reason = reasonOf(updated) ?? reasonOf(downloaded) ?? lastLine(downloaded);
      const suite = options.suite === undefined ? '' : ` of suite ${options.suite}`;
      throw new LocalError('ERR_LOCAL_FETCH', `apt-get could not fetch ${name}${suite}: ${reason}`);
    }
    return await unpack(work, parent, name);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

type Apt = (command: 'apt-get' | 'apt-cache', ...args: string[]) => Promise<RunResult>;

async function chosenSources(suite: string | undefined): Promise<AptSource[]> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const codename = /^VERSION_CODENAME="?([\w.-]+)/m.exec(release)?.[1] ?? 'sid';
  const own = archiveSources(await machineSources(), codename);
  const chosen = suite === undefined ? own : withSuite(own, codename, suite);
  if (chosen.length === 0) {
    throw new LocalError(
      'ERR_LOCAL_FETCH',
      `/etc/apt has no source of this release's own archive (${codename} main); add one to fetch packages.`,
    );
  }
  return chosen;
}

/** Makes apt's folders below `work`; keyring, proxies and log-ins stay the machine's. */
async function privateApt(work: string, sources: readonly AptSource[]): Promise<Apt> {
  for (const folder of ['state/lists/partial', 'cache/archives/partial', 'sources.d', 'debs']) {
    await mkdir(join(work, folder), { recursive: true });
  }
  await writeFile(join(work, 'sources.d/pgacme.sources'), formatSources(sources));
  const conf = join(work, 'apt.conf');
  // Hooks would work on the machine's own folders, preferences could forbid the suite, and as root
  // apt would download as a user who cannot enter the cache directory.
  await writeFile(
    conf,
    `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Default-Release;
Dir::State "${work}/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "${work}/cache";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "${work}/sources.d";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Acquire::Languages "none";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Retries "2";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "root";
Debug::NoLocking "true";
`,
  );
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  return (command, ...args) =>
    run(command, ['-c', conf, ...args], { cwd: join(work, 'debs'), env, timeoutMs: 300_000 });
}

/** The first package that a meta-package depends on: postgresql-client-15 for postgresql-client. */
async function dependency(apt: Apt, name: string): Promise<string> {
  const result = await apt('apt-cache', 'depends', name);
  const found = /^\s*\|?Depends: ([a-z0-9][a-z0-9.+-]*)/m.exec(result.stdout)?.[1];
  if (found !== undefined) return found;
  throw new LocalError('ERR_LOCAL_FETCH', `apt knows no package ${name} (${lastLine(result)}).`);
}

/** The library packages that installing `name` would bring to this machine. */
async function missing(apt: Apt, name: string): Promise<string[]> {
  const args = ['--simulate', '--no-install-recommends', 'install', name];
  const result = await apt('apt-get', ...args);
  const installed = [...result.stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '');
  // Programs in Perl around the real ones are not used, so neither is Perl.
  return installed.filter((other) => /^lib(?!perl)/.test(other));
}

async function unpack(work: string, parent: string, name: string): Promise<DebianPackage> {
  const debs = (await readdir(join(work, 'debs'))).filter((file) => file.endsWith('.deb'));
  const main = debs.find((file) => file.startsWith(`${name}_`));
  if (main === undefined) {
    throw new LocalError('ERR_LOCAL_FETCH', `apt-get download left no file of package ${name}.`);
  }
  const unpacked = join(work, 'unpacked');
  for (const deb of debs) {
    const result = await run('dpkg-deb', ['-x', join(work, 'debs', deb), unpacked]);
    if (result.code !== 0) {
      throw new LocalError(
        'ERR_LOCAL_FETCH',
        `dpkg-deb could not unpack ${deb}: ${lastLine(result)}`,
      );
    }
  }
  const folder = main.slice(0, -'.deb'.length);
  const root = join(parent, folder);
  // A folder that is not empty is never replaced by rename(2): who comes second keeps the first one's.
  await rename(unpacked, root).catch(async (error: unknown) => {
    if (!(await stat(root).catch(() => undefined))?.isDirectory()) throw error;
  });
  return packageIn(parent, folder);
}

/** Folders are named as Debian names files, `<name>_<version>_<architecture>`: one a version. */
function packageIn(parent: string, folder: string): DebianPackage {
  const [name = '', version = ''] = folder.split('_');
  return { root: join(parent, folder), name, version: decodeURIComponent(version) };
}

/** apt's first line of error, without its mark. */
function reasonOf(result: RunResult): string | undefined {
  return /^[EW]: (.+)$/m.exec(result.stderr)?.[1];
}
