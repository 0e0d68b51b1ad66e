"""What pyVmomi makes its types of. The module itself is not annotated."""

from collections.abc import Iterable
from typing import Any, ClassVar, TypeAlias

_Type: TypeAlias = type[Any]

F_LINK: int
F_OPTIONAL: int
XMLNS_VMODL_BASE: str
XMLNS_XSD: str
versionIdMap: dict[str, str]
versionMap: dict[str, str]
_managedDefMap: dict[str, Any]

# Subclasses at run time; fields take the plain types.
byte = int
short = int
long = int
double = float
binary = bytes
URI = str
PropertyPath = str
NoneType = type(None)

class LazyType(type): ...

class FieldInfo:
    """One property of a type, or one parameter of a method."""

    name: str
    type: _Type
    version: str
    flags: int

class MethodInfo:
    name: str
    type: _Type
    wsdlName: str
    version: str
    params: tuple[FieldInfo, ...]
    result: _Type
    resultFlags: int
    isTask: bool
    methodResult: _Type

class Object:
    """A bag of fields, as the coder passes them on."""

    def __init__(self, **fields: object) -> None: ...

class Enum(str):
    _wsdlName: ClassVar[str]
    _version: ClassVar[str]
    values: ClassVar[list[str]]

class Array(list[Any]):
    Item: ClassVar[type]

class DataObject:
    _wsdlName: ClassVar[str]
    _version: ClassVar[str]
    _propList: ClassVar[list[FieldInfo]]
    Array: ClassVar[type[Array]]
    def __init__(self, **fields: object) -> None: ...
    @classmethod
    def _GetPropertyInfo(cls, name: str) -> FieldInfo: ...
    @classmethod
    def _GetPropertyList(cls, includeBaseClassProps: bool = True) -> list[FieldInfo]: ...

class ManagedObject(metaclass=LazyType):
    _wsdlName: ClassVar[str]
    _version: ClassVar[str]
    _methodInfo: ClassVar[dict[str, MethodInfo]]
    _moId: str
    _stub: object
    Array: ClassVar[type[Array]]
    def __init__(self, moId: str, stub: object = None, serverGuid: str | None = None) -> None: ...
    def _GetMoId(self) -> str: ...
    @classmethod
    def _GetMethodInfo(cls, name: str) -> MethodInfo: ...
    @classmethod
    def _GetMethodList(cls) -> list[MethodInfo]: ...
    @classmethod
    def _GetPropertyInfo(cls, name: str) -> FieldInfo: ...
    @classmethod
    def _GetPropertyList(cls, includeBaseClassProps: bool = True) -> list[FieldInfo]: ...

class ManagedMethod:
    info: MethodInfo

def CheckField(info: FieldInfo, val: object) -> None: ...
def FormatObject(val: object) -> str: ...
def GetCompatibleType(type: type, version: str) -> type: ...
def GetQualifiedWsdlName(type: type) -> tuple[str, str]: ...
def GetRequestContext() -> dict[str, str]: ...
def GetServiceVersions(namespace: str) -> Iterable[str]: ...
def GetVmodlType(name: str) -> type[Any]: ...
def GetWsdlMethod(ns: str, wsdlName: str) -> ManagedMethod: ...
def GetWsdlType(ns: str, name: str) -> type[Any]: ...
def GuessWsdlType(name: str) -> type[Any]: ...
def IsChildVersion(child: str, parent: str) -> bool: ...
def ListDataTypes() -> list[str]: ...
def ListEnumTypes() -> list[str]: ...
def ListManagedTypes() -> list[str]: ...
