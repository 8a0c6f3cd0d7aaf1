//! `GET /v1/openapi.json`: the document that says what every route takes and answers, made from the routes themselves.

use super::problem::{MEDIA_TYPE, TYPE};
use super::routes::{Admission, Form, LIMIT_MAX, Method, Needed, Parameter, ROUTES, Route, Shape, Success};
use super::told::PSKC;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};

/// The path of the document.
pub(super) const PATH: &str = "/v1/openapi.json";

/// The whole document.
pub(super) fn document() -> Value {
    let mut schemas = Vec::new();
    let mut paths = Map::new();
    for route in ROUTES {
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        let operation = operation(route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(method.into(), operation);
        }
    }
    paths.insert(
        PATH.into(),
        json!({ "get": {
            "operationId": "showDocument",
            "summary": "This document.",
            "security": [],
            "responses": { "200": { "description": "The document.", "content": { "application/json": { "schema": { "type": "object" } } } } },
        } }),
    );
    let mut named: Map<String, Value> =
        schemas.into_iter().filter_map(|(name, schema)| Some((name, value(&schema)?))).collect();
    named.insert("Problem".into(), problem());
    named.insert("Acted".into(), acted());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "sekisho",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The life of one-time-password tokens: what the command line does, over HTTPS. Acts take an \
                Idempotency-Key and are then done once in a day. Sekisho-As names the role and the person in whose name \
                a caller acts.",
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "certificate": [] }],
        "paths": paths,
        "components": {
            "schemas": named,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
        },
    })
}

fn operation(route: &Route, schemas: &mut Vec<(String, RefOr<Schema>)>) -> Value {
    let mut parameters = path_parameters(route.path);
    parameters.extend(route.query.iter().map(parameter));
    if route.admission == Admission::Caller {
        let about = "In whose name: ROLE or ROLE:NAME; the caller's own first role, if not given.";
        parameters.push(header("Sekisho-As", about, 300));
        if route.method == Method::Post {
            parameters.push(header(
                "Idempotency-Key",
                "The act is done once; the answer is kept for a day.",
                128,
            ));
        }
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses(route, schemas),
    });
    let Some(fields) = operation.as_object_mut() else { return operation };
    if let Some(body) = route.body {
        let schema = reference(body, schemas);
        fields.insert(
            "requestBody".into(),
            json!({
                "required": route.body_needed == Needed::Yes,
                "content": { "application/json": { "schema": schema } },
            }),
        );
    }
    if route.admission == Admission::App {
        fields.insert("security".into(), json!([]));
    }
    operation
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
        })
        .collect()
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.form {
        Form::Text => json!({ "type": "string", "minLength": 1 }),
        Form::Limit => json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX }),
        Form::Flag => json!({ "type": "boolean" }),
    };
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.needed == Needed::Yes,
        "description": parameter.about,
        "schema": schema,
    })
}

fn header(name: &str, about: &str, longest: usize) -> Value {
    json!({
        "name": name,
        "in": "header",
        "required": false,
        "description": about,
        "schema": { "type": "string", "minLength": 1, "maxLength": longest },
    })
}

fn responses(route: &Route, schemas: &mut Vec<(String, RefOr<Schema>)>) -> Value {
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let named = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let mut responses = Map::new();
    let mut add = |status: &str, description: &str, content: Value| {
        responses.insert(status.into(), json!({ "description": description, "content": content }));
    };
    match route.success {
        Success::One(shape) => add("200", "As asked.", json_of(reference(shape, schemas))),
        Success::Many { name, shape, pages } => {
            let items = json!({ "type": "array", "items": reference(shape, schemas) });
            let mut properties = json!({ name: items });
            let mut required = vec![name];
            if pages == Needed::Yes
                && let Some(properties) = properties.as_object_mut()
            {
                let next = json!({ "type": ["string", "null"], "description": "What `after` goes on with; null at the end." });
                properties.insert("next".into(), next);
                required.push("next");
            }
            let page = json!({ "type": "object", "properties": properties, "required": required });
            add("200", "As asked.", json_of(page));
        }
        Success::Acted => add("200", "Done, or what would be done.", json_of(named("Acted"))),
        Success::Made(shape) => {
            add("200", "What would be done.", json_of(named("Acted")));
            add("201", "Made.", json_of(reference(shape, schemas)));
        }
        Success::Key(shape) => {
            let mut content = json_of(reference(shape, schemas));
            if let Some(content) = content.as_object_mut() {
                content.insert(PSKC.into(), json!({ "schema": { "type": "string" } }));
            }
            add("200", "The key; it leaves once.", content);
        }
    }
    if matches!(route.success, Success::Acted | Success::Made(_)) {
        let request = reference(super::routes::PENDING, schemas);
        add("202", "It waits for a second person.", json_of(request));
    }
    let problem = json!({ MEDIA_TYPE: { "schema": named("Problem") } });
    add("default", "Not done, and why.", problem);
    Value::Object(responses)
}

/// A reference to a schema, which is put among the others with all that it refers to.
fn reference(shape: Shape, schemas: &mut Vec<(String, RefOr<Schema>)>) -> Value {
    let name = (shape.name)();
    if !schemas.iter().any(|(known, _)| *known == name) {
        (shape.collect)(schemas);
    }
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn value(schema: &RefOr<Schema>) -> Option<Value> {
    serde_json::to_value(schema).ok()
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457.",
        "properties": {
            "type": { "type": "string", "pattern": format!("^{TYPE}") },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "reason": { "type": "string", "description": "One word, always the same for the same cause." },
            "detail": { "type": "string" },
        },
        "required": ["type", "title", "status", "reason"],
    })
}

fn acted() -> Value {
    json!({
        "type": "object",
        "properties": {
            "done": { "type": "boolean", "description": "False with dry-run." },
            "what": { "type": "string", "description": "What was, or would be, done." },
            "serial": { "type": ["string", "null"], "description": "The token it was done to." },
        },
        "required": ["done", "what", "serial"],
    })
}
