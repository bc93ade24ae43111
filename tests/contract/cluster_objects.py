"""Objects as a cluster's API answers with them: the fields of its reference, v1.31, filled in."""

import copy
from typing import Any

Object = dict[str, Any]
NODE = "node-a"

_POD: Object = {
    "metadata": {
        "name": "",
        "generateName": "frontend-5d8f7c6b9-",
        "namespace": "shop",
        "uid": "",
        "resourceVersion": "812",
        "creationTimestamp": "2026-11-20T08:12:44Z",
        "labels": {"app": "frontend", "pod-template-hash": "5d8f7c6b9"},
        "annotations": {"kubernetes.io/config.seen": "2026-11-20T08:12:44.123456789Z"},
        "managedFields": [
            {
                "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-20T08:12:46Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:status": {"f:podIP": {}}}, "subresource": "status",
            }
        ],
    },
    "spec": {
        "volumes": [{"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420}}],
        "containers": [
            {
                "name": "web", "image": "shop/frontend:1.4",
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "resources": {}, "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "nodeName": NODE,
        "priority": 0,
    },
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}],
        "hostIP": "10.0.0.7",
        "hostIPs": [{"ip": "10.0.0.7"}],
        "podIP": "10.244.1.17",
        "podIPs": [{"ip": "10.244.1.17"}, {"ip": "fd00:10:244:1::11"}],
        "startTime": "2026-11-20T08:12:44Z",
        "containerStatuses": [
            {
                "name": "web",
                "state": {"running": {"startedAt": "2026-11-20T08:12:46Z"}},
                "lastState": {},
                "ready": True,
                "restartCount": 0,
                "image": "docker.io/shop/frontend:1.4",
                "imageID": "docker.io/shop/frontend@sha256:" + "ab" * 32,
                "containerID": "",
                "started": True,
            }
        ],
        "qosClass": "BestEffort",
    },
}  # fmt: skip


def owner(kind: str, name: str, *, controller: bool = True) -> Object:
    """An entry of `ownerReferences`."""
    version = {"Job": "batch/v1", "CronJob": "batch/v1", "Node": "v1"}.get(kind, "apps/v1")
    return {
        "apiVersion": version, "kind": kind, "name": name, "uid": f"uid-of-{name}",
        "controller": controller, "blockOwnerDeletion": True,
    }  # fmt: skip


def pod(
    name: str,
    *,
    made_by: Object | None = None,
    labels: dict[str, str] | None = None,
    node: str = NODE,
    container: str = "c" * 64,
) -> Object:
    """A running pod of one container."""
    made = copy.deepcopy(_POD)
    made["metadata"]["name"] = name
    made["metadata"]["uid"] = f"uid-of-{name}"
    if made_by is not None:
        made["metadata"]["ownerReferences"] = [made_by]
    if labels is not None:
        made["metadata"]["labels"] = labels
    made["spec"]["nodeName"] = node
    made["status"]["containerStatuses"][0]["containerID"] = f"containerd://{container}"
    return made


def parent(kind: str, name: str, made_by: Object | None) -> Object:
    """A ReplicaSet or a Job, as far as it says who made it."""
    metadata: Object = {"name": name, "namespace": "shop", "uid": f"uid-of-{name}"}
    if made_by is not None:
        metadata["ownerReferences"] = [made_by]
    return {"kind": kind, "metadata": metadata, "spec": {"replicas": 1}, "status": {}}


def service(name: str, address: str = "10.96.12.7", node_port: int = 0) -> Object:
    """A service of one port."""
    port: Object = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}
    if node_port:
        port["nodePort"] = node_port
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-of-{name}"},
        "spec": {
            "ports": [port], "selector": {"app": name}, "clusterIP": address,
            "clusterIPs": [address], "type": "NodePort" if node_port else "ClusterIP",
            "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        },
        "status": {"loadBalancer": {}},
    }  # fmt: skip


def node(name: str = NODE, labels: dict[str, str] | None = None) -> Object:
    """A node."""
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **(labels or {})}},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.7"}]},
    }


def kubeadm(cluster: str) -> Object:
    """The ConfigMap that kubeadm leaves."""
    configuration = (
        "apiServer: {}\napiVersion: kubeadm.k8s.io/v1beta4\n"
        f"certificatesDir: /etc/kubernetes/pki\nclusterName: {cluster}\n"
        "kind: ClusterConfiguration\nkubernetesVersion: v1.31.2\n"
        "networking:\n  dnsDomain: cluster.local\n  podSubnet: 10.244.0.0/16\n"
    )
    return {"kind": "ConfigMap", "data": {"ClusterConfiguration": configuration}}
