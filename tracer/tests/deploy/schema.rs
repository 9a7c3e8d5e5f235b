//! The kinds of Kubernetes that our manifests use, as far as they use them: each object's fields and their types, by the API's own reference
//! (`kubernetes/api`, v1.34). What is not here is a fault, so that a misspelt field is one; a field that is wanted for the first time is added here.

use serde_json::Value;

/// A field's type.
#[derive(Clone, Copy)]
enum Type {
    Bool,
    Int,
    Text,
    /// A number, or a text: a port, a share.
    IntOrText,
    /// Texts by name: labels, data, quantities.
    Texts,
    /// One of these words.
    Word(&'static [&'static str]),
    Object(&'static Object),
    List(&'static Type),
}
use Type::{Bool, Int, IntOrText, List, Text, Texts, Word};

/// What an object may have. A field whose name begins with `!` is one that it must have.
struct Object(&'static [(&'static str, Type)]);

const TEXT_LIST: Type = List(&Text);

const METADATA: Object = Object(&[("!name", Text), ("namespace", Text), ("labels", Texts), ("annotations", Texts)]);
const OF_TEMPLATE: Object = Object(&[("!labels", Texts), ("annotations", Texts)]);
const HTTP_GET: Object =
    Object(&[("path", Text), ("!port", IntOrText), ("host", Text), ("scheme", Word(&["HTTP", "HTTPS"]))]);
const PROBE: Object = Object(&[
    ("!httpGet", Type::Object(&HTTP_GET)),
    ("initialDelaySeconds", Int),
    ("periodSeconds", Int),
    ("timeoutSeconds", Int),
    ("failureThreshold", Int),
]);
const FIELD_REF: Object = Object(&[("!fieldPath", Word(&["spec.nodeName", "status.hostIP"]))]);
const ENV_SOURCE: Object = Object(&[("!fieldRef", Type::Object(&FIELD_REF))]);
const ENV: Object = Object(&[("!name", Text), ("value", Text), ("valueFrom", Type::Object(&ENV_SOURCE))]);
const PORT: Object = Object(&[("name", Text), ("!containerPort", Int), ("protocol", Word(&["TCP", "UDP"]))]);
const CAPABILITIES: Object = Object(&[("add", TEXT_LIST), ("drop", TEXT_LIST)]);
const SECURITY: Object =
    Object(&[("privileged", Bool), ("readOnlyRootFilesystem", Bool), ("capabilities", Type::Object(&CAPABILITIES))]);
const RESOURCES: Object = Object(&[("requests", Texts), ("limits", Texts)]);
const MOUNT: Object = Object(&[
    ("!name", Text),
    ("!mountPath", Text),
    ("readOnly", Bool),
    ("mountPropagation", Word(&["None", "HostToContainer", "Bidirectional"])),
]);
const CONTAINER: Object = Object(&[
    ("!name", Text),
    ("!image", Text),
    ("imagePullPolicy", Word(&["Always", "IfNotPresent", "Never"])),
    ("args", TEXT_LIST),
    ("env", List(&Type::Object(&ENV))),
    ("ports", List(&Type::Object(&PORT))),
    ("securityContext", Type::Object(&SECURITY)),
    ("startupProbe", Type::Object(&PROBE)),
    ("livenessProbe", Type::Object(&PROBE)),
    ("readinessProbe", Type::Object(&PROBE)),
    ("resources", Type::Object(&RESOURCES)),
    ("terminationMessagePolicy", Word(&["File", "FallbackToLogsOnError"])),
    ("volumeMounts", List(&Type::Object(&MOUNT))),
]);
const HOST_PATH: Object =
    Object(&[("!path", Text), ("type", Word(&["Directory", "DirectoryOrCreate", "File", "Socket"]))]);
const CONFIG_MAP_VOLUME: Object = Object(&[("!name", Text)]);
const VOLUME: Object =
    Object(&[("!name", Text), ("hostPath", Type::Object(&HOST_PATH)), ("configMap", Type::Object(&CONFIG_MAP_VOLUME))]);
const TOLERATION: Object = Object(&[
    ("key", Text),
    ("operator", Word(&["Exists", "Equal"])),
    ("effect", Word(&["NoSchedule", "NoExecute", "PreferNoSchedule"])),
]);
const POD: Object = Object(&[
    ("serviceAccountName", Text),
    ("automountServiceAccountToken", Bool),
    ("hostPID", Bool),
    ("hostNetwork", Bool),
    ("priorityClassName", Text),
    ("nodeSelector", Texts),
    ("tolerations", List(&Type::Object(&TOLERATION))),
    ("terminationGracePeriodSeconds", Int),
    ("!containers", List(&Type::Object(&CONTAINER))),
    ("volumes", List(&Type::Object(&VOLUME))),
]);
const TEMPLATE: Object = Object(&[("!metadata", Type::Object(&OF_TEMPLATE)), ("!spec", Type::Object(&POD))]);
const SELECTOR: Object = Object(&[("!matchLabels", Texts)]);
const ROLLING: Object = Object(&[("maxUnavailable", IntOrText), ("maxSurge", IntOrText)]);
const UPDATE: Object =
    Object(&[("type", Word(&["RollingUpdate", "OnDelete"])), ("rollingUpdate", Type::Object(&ROLLING))]);
const DAEMON_SET_SPEC: Object = Object(&[
    ("!selector", Type::Object(&SELECTOR)),
    ("updateStrategy", Type::Object(&UPDATE)),
    ("!template", Type::Object(&TEMPLATE)),
]);
const RULE: Object = Object(&[("!apiGroups", TEXT_LIST), ("!resources", TEXT_LIST), ("!verbs", TEXT_LIST)]);
const ROLE_REF: Object = Object(&[("!apiGroup", Text), ("!kind", Text), ("!name", Text)]);
const SUBJECT: Object = Object(&[("!kind", Text), ("!name", Text), ("namespace", Text)]);

/// Each kind, its version, and what it has besides `apiVersion` and `kind`.
const KINDS: [(&str, &str, Object); 7] = [
    ("Kustomization", "kustomize.config.k8s.io/v1beta1", Object(&[("!resources", TEXT_LIST)])),
    ("Namespace", "v1", Object(&[("!metadata", Type::Object(&METADATA))])),
    ("ServiceAccount", "v1", Object(&[("!metadata", Type::Object(&METADATA)), ("automountServiceAccountToken", Bool)])),
    ("ConfigMap", "v1", Object(&[("!metadata", Type::Object(&METADATA)), ("data", Texts)])),
    (
        "ClusterRole",
        "rbac.authorization.k8s.io/v1",
        Object(&[("!metadata", Type::Object(&METADATA)), ("!rules", List(&Type::Object(&RULE)))]),
    ),
    (
        "ClusterRoleBinding",
        "rbac.authorization.k8s.io/v1",
        Object(&[
            ("!metadata", Type::Object(&METADATA)),
            ("!roleRef", Type::Object(&ROLE_REF)),
            ("!subjects", List(&Type::Object(&SUBJECT))),
        ]),
    ),
    (
        "DaemonSet",
        "apps/v1",
        Object(&[("!metadata", Type::Object(&METADATA)), ("!spec", Type::Object(&DAEMON_SET_SPEC))]),
    ),
];

/// All that is wrong with a manifest, each with its place as a JSON pointer.
pub(crate) fn faults(manifest: &Value) -> Vec<String> {
    let kind = manifest["kind"].as_str().unwrap_or_default();
    let Some((_, version, object)) = KINDS.iter().find(|(name, ..)| *name == kind) else {
        return vec![format!("{kind} is no kind that is known")];
    };
    let mut faults = Vec::new();
    if manifest["apiVersion"] != *version {
        faults.push(format!("/apiVersion is not {version}"));
    }
    let mut rest = manifest.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.retain(|name, _| name != "apiVersion" && name != "kind");
    }
    check_object(&rest, object, "", &mut faults);
    faults
}

fn check(value: &Value, expected: Type, place: &str, faults: &mut Vec<String>) {
    let (fits, name) = match expected {
        Type::Object(object) => return check_object(value, object, place, faults),
        List(one) => match value.as_array() {
            Some(items) if !items.is_empty() => {
                for (number, item) in items.iter().enumerate() {
                    check(item, *one, &format!("{place}/{number}"), faults);
                }
                return;
            }
            _ => (false, "list with something in it"),
        },
        Bool => (value.is_boolean(), "bool"),
        Int => (value.is_u64(), "number"),
        Text => (value.is_string(), "text"),
        IntOrText => (value.is_u64() || value.is_string(), "number or text"),
        Texts => (value.as_object().is_some_and(|all| all.values().all(Value::is_string)), "texts by name"),
        Word(words) => (value.as_str().is_some_and(|word| words.contains(&word)), "word that is known"),
    };
    if !fits {
        faults.push(format!("{place} is no {name}"));
    }
}

fn check_object(value: &Value, Object(fields): &Object, place: &str, faults: &mut Vec<String>) {
    let Some(found) = value.as_object() else {
        return faults.push(format!("{place} is no object"));
    };
    for (name, value) in found {
        let field = fields.iter().find(|(field, _)| field.trim_start_matches('!') == name);
        match field {
            Some((_, expected)) => check(value, *expected, &format!("{place}/{name}"), faults),
            None => faults.push(format!("{place}/{name} is not known")),
        }
    }
    let lacking =
        fields.iter().filter_map(|(field, _)| field.strip_prefix('!')).filter(|name| !found.contains_key(*name));
    faults.extend(lacking.map(|name| format!("{place} has no {name}")));
}
