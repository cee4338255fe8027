CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE blob (
	id INTEGER NOT NULL, 
	address_prefix BIGINT NOT NULL, 
	address_ordinal SMALLINT NOT NULL, 
	blake3 BLOB NOT NULL, 
	sha256 BLOB NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	crc32 BIGINT NOT NULL, 
	chunks BLOB, files BIGINT DEFAULT '0' NOT NULL, producer BIGINT, 
	PRIMARY KEY (id)
);
CREATE UNIQUE INDEX blob_address ON blob (address_prefix, address_ordinal);
CREATE INDEX blob_large ON blob (size_bytes) WHERE size_bytes >= 1048576;
CREATE TABLE event (
	seq INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	type TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	header BLOB NOT NULL, 
	chain BLOB NOT NULL, 
	payload BLOB NOT NULL, 
	PRIMARY KEY (seq)
);
CREATE INDEX event_by_subject ON event (subject, seq);
CREATE INDEX event_by_type ON event (type, seq);
CREATE TABLE event_log (
	log_id BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (log_id)
);
CREATE TABLE lease (
	lease_id TEXT NOT NULL, 
	purpose TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	opened_at BIGINT NOT NULL, 
	heartbeat_at BIGINT NOT NULL, 
	PRIMARY KEY (lease_id)
);
CREATE TABLE metadata_schema (
	slug TEXT NOT NULL, 
	json_schema TEXT NOT NULL, 
	registered_at BIGINT NOT NULL, 
	registered_by TEXT NOT NULL, 
	PRIMARY KEY (slug)
);
CREATE TABLE stored_object (
	id INTEGER NOT NULL, 
	backend TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	blake3 BLOB NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	PRIMARY KEY (id)
);
CREATE UNIQUE INDEX stored_object_key ON stored_object (blake3, kind, backend);
CREATE INDEX stored_object_lost ON stored_object (id) WHERE status <> 'live';
CREATE TABLE blob_location (
	blob_id BIGINT NOT NULL, 
	object_id BIGINT NOT NULL, 
	start BIGINT NOT NULL, 
	status TEXT NOT NULL, 
	PRIMARY KEY (blob_id, object_id), 
	FOREIGN KEY(blob_id) REFERENCES blob (id), 
	FOREIGN KEY(object_id) REFERENCES stored_object (id)
)
 WITHOUT ROWID;
CREATE INDEX blob_location_by_object ON blob_location (object_id, start);
CREATE INDEX blob_location_lost ON blob_location (object_id) WHERE status <> 'live';
CREATE TABLE package (
	id INTEGER NOT NULL, 
	package_id TEXT NOT NULL, 
	producer TEXT NOT NULL, 
	external_id TEXT, 
	subject TEXT, 
	schema_slug TEXT, 
	metadata_json TEXT, 
	revision BIGINT NOT NULL, 
	supersedes TEXT, 
	status TEXT NOT NULL, 
	opened_at BIGINT NOT NULL, 
	opened_by TEXT NOT NULL, 
	finalized_at BIGINT, 
	manifest_digest BLOB, 
	file_count BIGINT NOT NULL, 
	total_bytes BIGINT NOT NULL, 
	stored_bytes BIGINT NOT NULL, 
	retention_class TEXT, 
	duration_days BIGINT, 
	expires_at BIGINT, 
	expired_at BIGINT, deleted_at BIGINT, deleted_by TEXT, deletion_plan BLOB, deletion_rule TEXT, deletion_reason TEXT, pinned_at BIGINT, pinned_by TEXT, pin_reason TEXT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(schema_slug) REFERENCES metadata_schema (slug), 
	UNIQUE (package_id)
);
CREATE INDEX package_by_producer ON package (producer, id);
CREATE INDEX package_by_subject ON package (subject, id);
CREATE INDEX package_by_external_id ON package (external_id, id);
CREATE INDEX package_by_status ON package (status, id);
CREATE UNIQUE INDEX package_content ON package (producer, manifest_digest, revision) WHERE external_id IS NULL AND status <> 'open';
CREATE UNIQUE INDEX package_revision ON package (producer, external_id, revision) WHERE external_id IS NOT NULL AND status <> 'open';
CREATE TABLE hold (
	id INTEGER NOT NULL, 
	hold_id TEXT NOT NULL, 
	package BIGINT NOT NULL, 
	reason TEXT NOT NULL, 
	placed_at BIGINT NOT NULL, 
	placed_by TEXT NOT NULL, 
	released_at BIGINT, 
	released_by TEXT, 
	release_reason TEXT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(package) REFERENCES package (id), 
	UNIQUE (hold_id)
);
CREATE INDEX ix_hold_package ON hold (package);
CREATE TABLE package_file (
	package BIGINT NOT NULL, 
	file_index BIGINT NOT NULL, 
	path TEXT NOT NULL, 
	role TEXT NOT NULL, 
	media_type TEXT NOT NULL, 
	blob_id BIGINT NOT NULL, 
	PRIMARY KEY (package, file_index), 
	FOREIGN KEY(blob_id) REFERENCES blob (id), 
	FOREIGN KEY(package) REFERENCES package (id)
)
 WITHOUT ROWID;
CREATE INDEX package_file_by_blob ON package_file (blob_id);
CREATE UNIQUE INDEX package_file_path ON package_file (package, path);
CREATE INDEX package_by_schema ON package (schema_slug, id);
CREATE INDEX package_by_retention_class ON package (retention_class, id);
CREATE TABLE package_metadata (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	package BIGINT NOT NULL, 
	producer TEXT NOT NULL, 
	PRIMARY KEY ("key", value, package), 
	FOREIGN KEY(package) REFERENCES package (id)
)
 WITHOUT ROWID;
CREATE INDEX package_metadata_by_producer ON package_metadata (producer, "key", value, package);
CREATE TABLE token (
	token_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	secret_sha256 BLOB NOT NULL, 
	scopes TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at BIGINT, 
	revoked_at BIGINT, 
	last_used_at BIGINT, 
	PRIMARY KEY (token_id)
);
CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_at IS NULL;
CREATE TABLE open_package (
	package_id TEXT NOT NULL, 
	producer TEXT NOT NULL, 
	opened_by TEXT NOT NULL, 
	opened_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	draft BLOB NOT NULL, 
	receipt TEXT, backend TEXT, 
	PRIMARY KEY (package_id)
);
CREATE INDEX open_package_expiry ON open_package (expires_at);
CREATE INDEX open_package_by_owner ON open_package (opened_by, package_id) WHERE receipt IS NULL;
CREATE TABLE declared_files (
	package_id TEXT NOT NULL, 
	files BLOB NOT NULL, 
	PRIMARY KEY (package_id), 
	FOREIGN KEY(package_id) REFERENCES open_package (package_id)
);
CREATE TABLE received_object (
	package_id TEXT NOT NULL, 
	blake3 BLOB NOT NULL, 
	kind TEXT NOT NULL, 
	backend TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	blobs BLOB NOT NULL, 
	PRIMARY KEY (package_id, blake3, kind), 
	FOREIGN KEY(package_id) REFERENCES open_package (package_id)
);
CREATE TABLE received_file (
	package_id TEXT NOT NULL, 
	path TEXT NOT NULL, 
	role TEXT NOT NULL, 
	media_type TEXT NOT NULL, 
	blake3 BLOB NOT NULL, 
	sha256 BLOB NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	PRIMARY KEY (package_id, path), 
	FOREIGN KEY(package_id) REFERENCES open_package (package_id)
);
CREATE TABLE upload (
	upload_id TEXT NOT NULL, 
	package_id TEXT NOT NULL, 
	path TEXT NOT NULL, 
	role TEXT NOT NULL, 
	media_type TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	received_bytes BIGINT NOT NULL, 
	PRIMARY KEY (upload_id), 
	FOREIGN KEY(package_id) REFERENCES open_package (package_id)
);
CREATE UNIQUE INDEX upload_path ON upload (package_id, path);
CREATE TABLE upload_part (
	upload_id TEXT NOT NULL, 
	start BIGINT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	backend TEXT NOT NULL, 
	blake3 BLOB NOT NULL, 
	PRIMARY KEY (upload_id, start), 
	FOREIGN KEY(upload_id) REFERENCES upload (upload_id)
);
CREATE TABLE idempotency_key (
	caller TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	request_digest BLOB NOT NULL, 
	answer TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (caller, "key")
);
CREATE INDEX idempotency_key_age ON idempotency_key (created_at);
CREATE INDEX stored_object_by_backend ON stored_object (backend, id);
CREATE INDEX package_due ON package (status, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX package_by_producer_and_subject ON package (producer, subject, id);
CREATE INDEX open_package_open ON open_package (package_id) WHERE receipt IS NULL;
CREATE TABLE backend_state (
	name TEXT NOT NULL, 
	successor TEXT, 
	succeeded_at BIGINT, 
	fell_back_at BIGINT, 
	PRIMARY KEY (name)
);
CREATE TABLE probe_report (
	target TEXT NOT NULL, 
	probed_at BIGINT NOT NULL, 
	verdict TEXT NOT NULL, 
	report TEXT NOT NULL, 
	PRIMARY KEY (target)
);
CREATE TABLE duty (
	name TEXT NOT NULL, 
	next_run_at BIGINT NOT NULL, 
	holder TEXT, 
	heartbeat_at BIGINT, 
	started_at BIGINT, 
	finished_at BIGINT, 
	succeeded_at BIGINT, 
	outcome TEXT, 
	failures BIGINT NOT NULL, 
	detail TEXT, 
	error TEXT, 
	position BIGINT NOT NULL, paused_at BIGINT, paused_by TEXT, 
	PRIMARY KEY (name)
);
CREATE TABLE source (
	id INTEGER NOT NULL, 
	source_id BLOB NOT NULL, 
	location_kind TEXT NOT NULL, 
	path_id TEXT NOT NULL, 
	owner_host_id TEXT, 
	content_type TEXT, 
	display_name TEXT, 
	metadata_json TEXT, 
	plugin_name TEXT NOT NULL, 
	plugin_version TEXT, 
	contract_version TEXT NOT NULL, 
	is_declared SMALLINT NOT NULL, 
	indexed_at BIGINT NOT NULL, 
	indexed_by TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (source_id)
);
CREATE TABLE envelope (
	id INTEGER NOT NULL, 
	envelope_id BLOB NOT NULL, 
	source BIGINT NOT NULL, 
	transport TEXT NOT NULL, 
	received_at BIGINT NOT NULL, 
	raw_payload BLOB NOT NULL, 
	plugin_name TEXT NOT NULL, 
	plugin_version TEXT, 
	contract_version TEXT NOT NULL, 
	is_declared SMALLINT NOT NULL, 
	indexed_at BIGINT NOT NULL, 
	indexed_by TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(source) REFERENCES source (id), 
	UNIQUE (envelope_id)
);
CREATE INDEX envelope_by_source ON envelope (source, id);
CREATE INDEX envelope_by_source_and_actor ON envelope (source, indexed_by, id);
CREATE TABLE party (
	envelope BIGINT NOT NULL, 
	ordinal BIGINT NOT NULL, 
	identifier_kind TEXT NOT NULL, 
	identifier_scope TEXT, 
	identifier_value TEXT NOT NULL, 
	role TEXT NOT NULL, 
	trust TEXT NOT NULL, 
	PRIMARY KEY (envelope, ordinal), 
	FOREIGN KEY(envelope) REFERENCES envelope (id)
)
 WITHOUT ROWID;
CREATE TABLE package_observation (
	package BIGINT NOT NULL, 
	envelope BIGINT NOT NULL, 
	observed_at BIGINT NOT NULL, 
	observed_by TEXT NOT NULL, 
	producer TEXT NOT NULL, 
	PRIMARY KEY (package, envelope), 
	FOREIGN KEY(package) REFERENCES package (id), 
	FOREIGN KEY(envelope) REFERENCES envelope (id)
)
 WITHOUT ROWID;
CREATE INDEX package_observation_by_envelope ON package_observation (envelope, producer, package);
CREATE TABLE subscription (
	name TEXT NOT NULL, 
	position BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	delivered_at BIGINT, 
	failures BIGINT NOT NULL, 
	next_attempt_at BIGINT NOT NULL, 
	error TEXT, 
	PRIMARY KEY (name)
);
CREATE TABLE webhook_delivery (
	id INTEGER NOT NULL, 
	webhook TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	attempted_at BIGINT NOT NULL, 
	took_us BIGINT NOT NULL, 
	status BIGINT, 
	error TEXT, 
	PRIMARY KEY (id)
);
CREATE INDEX webhook_delivery_by_webhook ON webhook_delivery (webhook, id);
CREATE INDEX webhook_delivery_age ON webhook_delivery (attempted_at);
CREATE INDEX package_expired ON package (status, package_id) WHERE status = 'expired';
CREATE INDEX package_by_manifest ON package (manifest_digest, id) WHERE manifest_digest IS NOT NULL;
CREATE INDEX hold_in_force ON hold (package) WHERE released_at IS NULL;
CREATE INDEX upload_part_by_digest ON upload_part (blake3);
CREATE INDEX received_object_by_digest ON received_object (blake3, kind);
CREATE TABLE removal (
	blake3 BLOB NOT NULL, 
	kind TEXT NOT NULL, 
	backend TEXT NOT NULL, 
	condemned_at BIGINT NOT NULL, 
	begun_at BIGINT, 
	PRIMARY KEY (blake3, kind, backend)
);
CREATE TABLE producer_usage (
	id INTEGER NOT NULL, 
	producer TEXT NOT NULL, 
	packages BIGINT NOT NULL, 
	files BIGINT NOT NULL, 
	logical_bytes BIGINT NOT NULL, 
	unique_bytes BIGINT NOT NULL, 
	shared_bytes BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (producer)
);
CREATE TABLE shared_blob (
	blob BIGINT NOT NULL, 
	producer BIGINT NOT NULL, 
	files BIGINT NOT NULL, 
	PRIMARY KEY (blob, producer)
)
 WITHOUT ROWID;
CREATE TABLE object_usage (
	object INTEGER NOT NULL, 
	backend TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	used BIGINT NOT NULL, 
	used_bytes BIGINT NOT NULL, 
	dead_bytes BIGINT NOT NULL, 
	is_condemned SMALLINT NOT NULL, 
	PRIMARY KEY (object)
);
CREATE INDEX object_usage_dead ON object_usage (backend, object) WHERE dead_bytes > 0;
CREATE TABLE backend_usage (
	backend TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	objects BIGINT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	dead_objects BIGINT NOT NULL, 
	dead_object_bytes BIGINT NOT NULL, 
	dead_in_use_bytes BIGINT NOT NULL, 
	condemned_objects BIGINT NOT NULL, 
	condemned_bytes BIGINT NOT NULL, 
	PRIMARY KEY (backend, kind)
)
 WITHOUT ROWID;
INSERT INTO alembic_version (version_num) VALUES ('0005')
