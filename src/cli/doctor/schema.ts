import { readApi, readMigrations } from '../../db/migrate/migration-files.ts';
import { serves } from '../../worker/contract.ts';
import { type Check, type Finding, ok, problem } from './finding.ts';

/** Whether pgacme's own SQL in the database is the SQL of this version. */
export const schemaCheck: Check = {
  name: 'Migrations',
  async run({ sql, facts }) {
    if (sql === undefined || facts === undefined) return [];
    const [is] = await sql<[{ contract: string; schema: string }]>`
      select acme.version() as contract, acme_private.worker_schema() as schema`;
    const files = await readMigrations();
    const found: Finding[] = [];
    for (const { name, sha256 } of files) {
      const ran = facts.migrations[name];
      if (ran === undefined) found.push(problem(`${name} has not run. Run pgacme migrate.`));
      else if (ran !== sha256) {
        found.push(
          problem(
            `${name} has changed since it ran here. Restore the file: install this version of pgacme anew.`,
          ),
        );
      }
    }
    for (const name of Object.keys(facts.migrations)) {
      if (name === 'api' || files.some((file) => file.name === name)) continue;
      found.push(
        problem(
          `The database was migrated by a newer pgacme (${name}). Install that version, or a later one.`,
        ),
      );
    }
    const api = await readApi(is.schema);
    if (facts.migrations['api'] !== api.sha256) {
      found.push(
        problem(
          "Functions, views and grants are another version's. Run pgacme migrate of the newer version.",
        ),
      );
    }
    if (!serves(is.contract)) {
      found.push(
        problem(
          `The database speaks version ${is.contract} of the SQL contract, which workers of this version do not. Run pgacme migrate of the newer version.`,
        ),
      );
    }
    if (found.length > 0) return found;
    return [ok(`All ${files.length} have run, and version ${is.contract} of the contract fits.`)];
  },
};
