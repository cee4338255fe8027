CREATE TABLE testing_os_record (
	id INTEGER NOT NULL, 
	package BIGINT NOT NULL, 
	external_id TEXT NOT NULL, 
	repo TEXT NOT NULL, 
	run_id TEXT NOT NULL, 
	profile TEXT NOT NULL, 
	status TEXT NOT NULL, 
	verified TEXT NOT NULL, 
	may_be_replaced SMALLINT NOT NULL, 
	contract_major BIGINT, 
	finished_at TEXT NOT NULL, 
	finished_ms BIGINT NOT NULL, 
	path TEXT NOT NULL, 
	recorded_at BIGINT NOT NULL, 
	recorded_by TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(package) REFERENCES package (id), 
	UNIQUE (package)
);
CREATE INDEX testing_os_record_by_external_id ON testing_os_record (external_id, id);
CREATE INDEX testing_os_record_by_repo ON testing_os_record (repo, finished_ms, package);
CREATE TABLE testing_os_surface (
	record BIGINT NOT NULL, 
	position BIGINT NOT NULL, 
	repo TEXT NOT NULL, 
	surface TEXT NOT NULL, 
	is_passing SMALLINT NOT NULL, 
	finished_ms BIGINT NOT NULL, 
	PRIMARY KEY (record, position), 
	FOREIGN KEY(record) REFERENCES testing_os_record (id)
)
 WITHOUT ROWID;
CREATE INDEX testing_os_surface_by_outcome ON testing_os_surface (repo, surface, is_passing, finished_ms);
CREATE TABLE testing_os_latest (
	repo TEXT NOT NULL, 
	surface TEXT NOT NULL, 
	first_order TEXT NOT NULL, 
	latest_ms BIGINT NOT NULL, 
	latest_order TEXT NOT NULL, 
	record BIGINT NOT NULL, 
	failing_since_ms BIGINT, 
	PRIMARY KEY (repo, surface), 
	FOREIGN KEY(record) REFERENCES testing_os_record (id)
)
 WITHOUT ROWID;
CREATE TABLE testing_os_totals (
	id SMALLINT NOT NULL, 
	accepted BIGINT NOT NULL, 
	rejected BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE testing_os_policies (
	id SMALLINT NOT NULL, 
	package BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	adopted_at BIGINT NOT NULL, 
	adopted_by TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(package) REFERENCES package (id)
);
INSERT INTO alembic_version (version_num) VALUES ('testing_os_0001')
